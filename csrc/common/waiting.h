// Lets the waiting threads of libgomp keep their cores only while nobody else wants them.
#pragma once

#include <cstdint>
#include <string>

namespace m2t {

// Starts the thread that decides, once per process; false where the system does not count what it decides by.
//
// gomp_parallel: address of libgomp's GOMP_parallel. cores: what libgomp counts threads against. threads: a team's size
// until a kernel asks for another. tasks: the folder with a schedstat file for every thread.
bool watch_cores(std::uintptr_t gomp_parallel, int cores, int threads, const std::string& tasks);

// Whether other work wants the cores now, so that waiting threads sleep soon; false without a watch.
bool cores_wanted();

// Told by every parallel loop: the size of its team, more than one.
void note_team(int threads);

}  // namespace m2t
