import CIVGKernels
import Glibc

/// A fixed set of threads that run one program together, many times over, without allocation.
///
/// The thread that calls `run` is worker 0, so a team of one starts no thread at all. Between runs
/// the others wait awake for some tens of microseconds, then sleep. They block all signals: a
/// host's handlers run on the host's threads. One run at a time; a program must not call `run` of
/// its own team.
package final class ThreadTeam: @unchecked Sendable {
  /// Processors that this process may use, at most as many as a team may have threads.
  package static var processorCount: Int { min(max(1, Int(civg_processor_count())), 1024) }

  /// Workers in every run, the calling thread included.
  package let threadCount: Int
  private let state: TeamState
  private var threads: [pthread_t] = []

  /// Starts `threadCount - 1` threads. Throws `.invalidArgument` outside 1 ... 1024 and
  /// `.outOfMemory` if the system gives no more threads; none is left behind then.
  package init(threadCount: Int) throws(IVGError) {
    guard (1...1024).contains(threadCount) else {
      throw IVGError(.invalidArgument, "\(threadCount) threads: must be 1 ... 1024")
    }
    self.threadCount = threadCount
    state = try TeamState(count: threadCount)
    threads.reserveCapacity(threadCount - 1)
    for index in 1..<max(threadCount, 1) {
      guard let thread = Self.spawn(Seat(index: index, state: state)) else {
        stop()
        throw IVGError(.outOfMemory, "thread \(index + 1) of \(threadCount) could not be started")
      }
      threads.append(thread)
    }
  }

  deinit { stop() }

  /// Runs `program` on all threads and returns when all are done. Call from one thread at a time.
  package func run(_ program: some ParallelProgram) {
    state.start(program)
    program.run(Worker(index: 0, count: threadCount, state: state))
    state.waitForAll()
  }

  /// Ends and joins the threads that were started.
  private func stop() {
    state.isStopping = true
    state.start(nil)
    for thread in threads { pthread_join(thread, nil) }
    threads = []
  }

  /// What a new thread is told.
  private final class Seat {
    let index: Int
    let state: TeamState
    init(index: Int, state: TeamState) {
      self.index = index
      self.state = state
    }
  }

  /// Starts one thread with all signals blocked; nil if the system refuses.
  private static func spawn(_ seat: Seat) -> pthread_t? {
    var all = sigset_t()
    var before = sigset_t()
    var thread = pthread_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    let argument = Unmanaged.passRetained(seat)
    let status = pthread_create(
      &thread, nil,
      { argument in
        let seat = Unmanaged<Seat>.fromOpaque(argument!).takeRetainedValue()
        ThreadTeam.live(index: seat.index, state: seat.state)
        return nil
      }, argument.toOpaque())
    if status == 0 { return thread }
    argument.release()
    return nil
  }

  /// The life of a started thread: one program after the other, until the team ends.
  private static func live(index: Int, state: TeamState) {
    var generation = 0
    while true {
      generation = state.waitForStart(after: generation)
      if state.isStopping { return }
      state.program?.run(Worker(index: index, count: state.count, state: state))
      state.finish()
    }
  }
}
