import CIVGKernels
import Glibc
import Synchronization

/// What the threads of a team share. Each word that they contend for has cache lines of its own.
///
/// Waiting burns few cycles at first, since phases of a step last microseconds, and then sleeps in the
/// kernel: on a machine that has other work to do a spinning thread would hold the core that the thread
/// it waits for needs.
final class TeamState: @unchecked Sendable {
  /// Threads in the team, the calling one included.
  let count: Int
  /// The program of the current run. Written before `generation` is, read after.
  var program: (any ParallelProgram)?
  /// Set before the last `generation`: threads shall end.
  var isStopping = false

  /// The contended words, 128 bytes apart: CPUs fetch lines in pairs.
  private let words: UnsafeMutableRawPointer
  private static let spacing = 128

  /// Which contended word is which.
  private enum Word: Int, CaseIterable {
    case generation, sleepers, remaining, arrived, phase, claimed
  }

  /// Turns of spinning before a thread sleeps: some 50 µs.
  private static let patience = 4000

  /// Throws `.outOfMemory`.
  init(count: Int) throws(IVGError) {
    self.count = count
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, Self.spacing, Self.spacing * Word.allCases.count) == 0, let memory
    else { throw IVGError(.outOfMemory, "no memory for a team of threads") }
    words = memory
    for word in Word.allCases {
      (memory + word.rawValue * Self.spacing).bindMemory(to: Atomic<Int>.self, capacity: 1)
        .initialize(to: Atomic(0))
    }
  }

  deinit { free(words) }

  private func word(_ word: Word) -> UnsafeMutablePointer<Atomic<Int>> {
    (words + word.rawValue * Self.spacing).assumingMemoryBound(to: Atomic<Int>.self)
  }

  // MARK: Waiting

  /// Waits until a word is such that `isDone`, and returns it.
  private func wait(for name: Word, _ isDone: (Int) -> Bool) -> Int {
    let word = word(name)
    for _ in 0..<Self.patience {
      let now = word.pointee.load(ordering: .acquiring)
      if isDone(now) { return now }
      civg_pause()
    }
    // Sequentially consistent, as is the waker's side: either it sees a sleeper or the sleeper sees the word.
    self.word(.sleepers).pointee.add(1, ordering: .sequentiallyConsistent)
    defer { self.word(.sleepers).pointee.subtract(1, ordering: .relaxed) }
    while true {
      let now = word.pointee.load(ordering: .sequentiallyConsistent)
      if isDone(now) { return now }
      civg_wait_while(word, UInt32(truncatingIfNeeded: now))
    }
  }

  /// Wakes those that sleep on a word which has just changed, with sequential consistency.
  private func wake(_ name: Word) {
    guard word(.sleepers).pointee.load(ordering: .sequentiallyConsistent) != 0 else { return }
    civg_wake_all(word(name))
  }

  // MARK: Starting and ending a run

  /// Lets the other threads begin with `program`; without one they only look at `isStopping`.
  func start(_ program: (any ParallelProgram)?) {
    self.program = program
    word(.claimed).pointee.store(0, ordering: .relaxed)
    word(.remaining).pointee.store(count - 1, ordering: .relaxed)
    word(.generation).pointee.add(1, ordering: .sequentiallyConsistent)
    wake(.generation)
  }

  /// Waits until the other threads are done with the program.
  func waitForAll() {
    _ = wait(for: .remaining) { $0 == 0 }
    program = nil
  }

  /// Waits for a generation other than `seen`, and returns it.
  func waitForStart(after seen: Int) -> Int { wait(for: .generation) { $0 != seen } }

  /// One of the other threads is done with its program.
  func finish() {
    let left = word(.remaining).pointee.subtract(1, ordering: .sequentiallyConsistent).newValue
    if left == 0 { wake(.remaining) }
  }

  // MARK: During a run

  /// See `Worker.barrier`.
  func barrier() {
    guard count > 1 else {
      word(.claimed).pointee.store(0, ordering: .relaxed)
      return
    }
    let phase = word(.phase).pointee.load(ordering: .relaxed)
    if word(.arrived).pointee.add(1, ordering: .acquiringAndReleasing).newValue == count {
      // Everyone else waits: the last may reset what all share.
      word(.arrived).pointee.store(0, ordering: .relaxed)
      word(.claimed).pointee.store(0, ordering: .relaxed)
      word(.phase).pointee.store(phase &+ 1, ordering: .sequentiallyConsistent)
      wake(.phase)
    } else {
      _ = wait(for: .phase) { $0 != phase }
    }
  }

  /// The first of `grain` items that no one else gets.
  func claim(_ grain: Int) -> Int {
    word(.claimed).pointee.add(grain, ordering: .relaxed).oldValue
  }
}
