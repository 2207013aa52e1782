// One pool of threads for everything that the process computes.
//
// In: a number of pieces of work, and a function that does one. Out: all pieces done, by the caller
// and by whichever threads were free. Pieces are taken one at a time, so a thread that the system
// has taken away delays only the piece that it holds; a pool that is busy with another caller's work
// is not waited for. Waiting threads spin for some microseconds, then sleep.
#pragma once

#include <type_traits>

namespace slm {

class Pool {
 public:
  // Started on first use, with one thread less than the processors that are free to this process
  // (affinity and control groups).
  static Pool& shared();

  // Threads that can work at a time, the caller's included.
  int threads() const;

  // body(piece) for 0 … pieces - 1, in any order, on at most `threads` threads. Returns when all are
  // done. Must not be called from a piece. Nothing may be thrown by `body`.
  template <typename Body>
  void run(int threads, int pieces, const Body& body) {
    run_pieces(threads, pieces, [](const void* context, int piece) {
      (*static_cast<const Body*>(context))(piece);
    }, &body);
  }

 private:
  using Piece = void (*)(const void* context, int piece);
  void run_pieces(int threads, int pieces, Piece work, const void* context);
};

// Processors that this process may keep busy: affinity, and the quota of its control groups.
int free_processors();

}  // namespace slm
