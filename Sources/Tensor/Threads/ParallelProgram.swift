/// Work that every thread of a team runs at once. Each gets its own `Worker` and takes its share by
/// it.
package protocol ParallelProgram: AnyObject {
  /// Called once on each thread of the team, at the same time.
  func run(_ worker: Worker)
}

/// One thread's place in its team while a program runs. Not to be kept after `run` returns.
package struct Worker {
  /// 0 ..< count; 0 is the thread that called `ThreadTeam.run`.
  package let index: Int
  /// Threads in the team.
  package let count: Int
  /// What the team shares.
  let state: TeamState

  /// Waits until every worker of the team has called this. Whatever they wrote before is visible to
  /// all after. Each worker must reach the same barriers. Also starts the next round of `next`.
  package func barrier() { state.barrier() }

  /// Claims the next at most `grain` of `total` items, or nil when all are taken. All workers of
  /// the team draw from the same items; between two barriers only one set of items can be drawn.
  package func next(of total: Int, grain: Int = 1) -> Range<Int>? {
    let first = state.claim(grain)
    return first < total ? first..<min(first + grain, total) : nil
  }

  /// This worker's share when `total` items are cut into equal runs, in order of index.
  package func share(of total: Int) -> Range<Int> {
    let each = total / count
    let more = total % count
    let first = index * each + min(index, more)
    return first..<(first + each + (index < more ? 1 : 0))
  }
}
