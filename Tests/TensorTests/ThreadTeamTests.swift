import Glibc
import Synchronization
import Tensor
import Testing

/// Teams of threads: every item is done once, every barrier holds.
@Suite struct ThreadTeamTests {
  /// Rounds of claimed work, each of which checks the one before.
  final class Rounds: ParallelProgram, @unchecked Sendable {
    let items: Int
    let rounds: Int
    let values: AlignedBuffer<Int>
    let failures = Atomic<Int>(0)

    init(items: Int, rounds: Int) throws {
      self.items = items
      self.rounds = rounds
      values = try AlignedBuffer(count: items)
    }

    func run(_ worker: Worker) {
      for round in 0..<rounds {
        while let range = worker.next(of: items, grain: 3) {
          for i in range { values.pointer[i] += 1 }
        }
        worker.barrier()
        // Everyone reads what others wrote.
        for i in worker.share(of: items)
        where values.pointer[items - 1 - i] % rounds != (round + 1) % rounds {
          failures.add(1, ordering: .relaxed)
        }
        worker.barrier()
      }
    }
  }

  @Test(arguments: [1, 2, 4]) func everyItemOnce(_ threads: Int) throws {
    let team = try ThreadTeam(threadCount: threads)
    let program = try Rounds(items: 100, rounds: 20)
    for run in 1...50 {
      team.run(program)
      #expect(program.values.elements.allSatisfy { $0 == run * 20 })
      // Long enough for the others to fall asleep, now and then.
      if run % 10 == 0 { usleep(300) }
    }
    let failures = program.failures.load(ordering: .relaxed)
    #expect(failures == 0)
  }

  /// Notes which workers ran and where.
  final class Roll: ParallelProgram, @unchecked Sendable {
    let seen: AlignedBuffer<Int>
    let caller = pthread_self()
    let callerIsFirst = Atomic<Bool>(false)
    init(_ count: Int) throws { seen = try AlignedBuffer(count: count) }
    func run(_ worker: Worker) {
      seen.pointer[worker.index] += worker.count
      if worker.index == 0 {
        callerIsFirst.store(pthread_equal(pthread_self(), caller) != 0, ordering: .relaxed)
      }
    }
  }

  @Test func theCallerIsWorkerZero() throws {
    for threads in [1, 3] {
      let roll = try Roll(threads)
      try ThreadTeam(threadCount: threads).run(roll)
      #expect(roll.seen.elements.allSatisfy { $0 == threads })
      let callerIsFirst = roll.callerIsFirst.load(ordering: .relaxed)
      #expect(callerIsFirst)
    }
  }

  @Test func comesAndGoes() throws {
    for _ in 0..<100 { _ = try ThreadTeam(threadCount: 3) }
  }

  @Test func refusesNonsense() {
    #expect(throws: IVGError.self) { try ThreadTeam(threadCount: 0) }
    #expect(throws: IVGError.self) { try ThreadTeam(threadCount: 100_000) }
  }

  @Test func sharesCoverAll() throws {
    final class Shares: ParallelProgram, @unchecked Sendable {
      let done: AlignedBuffer<Int>
      init() throws { done = try AlignedBuffer(count: 11) }
      func run(_ worker: Worker) { for i in worker.share(of: 11) { done.pointer[i] += 1 } }
    }
    let shares = try Shares()
    try ThreadTeam(threadCount: 4).run(shares)
    #expect(shares.done.elements.allSatisfy { $0 == 1 })
  }
}
