// Trials of the emulated device.
#pragma once

#include <string>

namespace m2t::cuda {

// Launches the trial kernel of this name; out (blocks * threads).
void run_trial(const std::string& name, float* out, unsigned blocks, unsigned threads, unsigned cluster);

}  // namespace m2t::cuda
