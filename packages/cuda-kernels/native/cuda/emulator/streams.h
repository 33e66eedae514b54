// Streams, events and graphs without a GPU: what was enqueued and has not run yet.
//
// The work of a stream runs in its order. Whose turn it is among several streams, and when, the emulator's order decides
// (emulator.h): ascending runs everything at once; descending runs nothing before the host waits for it, and then only what
// it waits for; shuffled runs anything in between. So memory that is used again too early shows, and so does a stream that
// should have waited for another one.
#pragma once

#include <functional>

#include "../driver.h"

namespace d2v::cuda::emulator {

/// What a piece of work is in a graph.
enum class Node : unsigned char { Kernel, Copy, Zero, Library };

/// Lets the work run after what is in the stream, or keeps it in the graph that the stream is recording. Throws what the
/// work throws if it runs at once. In the order `none` nothing comes of it.
void enqueue(Stream stream, Node node, std::function<void()> work);

/// Runs everything that was enqueued anywhere, as freeing memory does. Throws DriverError while a graph is recorded, whose
/// work may be that of the memory.
void finishAll();

}  // namespace d2v::cuda::emulator
