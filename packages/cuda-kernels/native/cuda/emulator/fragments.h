// What a warp does together, once all lanes have brought their part.
#pragma once

#include "emulator.h"

namespace d2v::cuda::emulator {

const char* nameOf(Call call);
/// Gives each lane its result. `args[l]`: what lane l passed to meet().
void perform(Call call, void* const args[32]);

}  // namespace d2v::cuda::emulator
