// bfloat16 by name alone: for headers and functions.cpp, which never look inside.
#pragma once

#if defined(M2T_EMULATED)
namespace m2t::cuda {
struct bfloat16;
}
#else
struct __nv_bfloat16;
namespace m2t::cuda {
using bfloat16 = __nv_bfloat16;
}
#endif
