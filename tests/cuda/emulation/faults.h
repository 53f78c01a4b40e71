// Trials of the emulated device.
#pragma once

#include <string>

#include "common/record.h"

namespace m2t::cuda {

struct Trial {
    M2T_FIELDS(
        float* out;  // (blocks * threads)
        unsigned blocks, threads, cluster;
    )
};

// Launches the trial kernel of this name.
void run_trial(const std::string& name, const Trial& trial);

}  // namespace m2t::cuda
