// Linked into programs that move tensors, together with jemalloc: see CMakeLists.txt.

/// What jemalloc reads as it starts. One arena: blocks that one thread frees, the next one takes
/// while caches hold them; with four for each core streams with gradient took a tenth longer and
/// the peak was twice as high. Freed pages go back to the operating system after a second, from
/// a thread of jemalloc's own, so that an idle server gives back what it held.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "narenas:1,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";
}
