import Glibc

/// Where the time of a session's calls goes, by phase: a stopwatch that is read at the end of each.
///
/// Threads: the thread that runs the call, which is also worker 0 of its team. A reading costs about 25 ns.
package final class StepClock {
  package enum Phase: Int, CaseIterable {
    /// Reading the tokens' embeddings.
    case embed
    /// Norms, and rounding their results for products with quantised weights.
    case normalize
    /// Query, key, value and attention output.
    case projections
    /// Rotation, storing keys and values, scores and mixtures.
    case attention
    /// Gate, up, activation and down.
    case feedForward
    /// The final norm, logits, heads, log-probabilities.
    case outputs
    /// Penalties, tilts, candidates, drawing.
    case sample
    /// Queueing and adding up scores, selecting rows.
    case score
    /// Everything else within a call.
    case other
  }

  private var nanoseconds = [UInt64](repeating: 0, count: Phase.allCases.count)
  private var mark: UInt64 = 0
  /// Forward passes, and the rows of all of them.
  package private(set) var passes = 0
  package private(set) var rows = 0

  package init() {}

  package func seconds(_ phase: Phase) -> Double { Double(nanoseconds[phase.rawValue]) * 1e-9 }

  /// Begins a call: time before it is nobody's.
  package func start() { mark = Self.now() }

  /// Gives the time since the last reading to `phase`.
  package func lap(_ phase: Phase) {
    let now = Self.now()
    nanoseconds[phase.rawValue] += now - mark
    mark = now
  }

  func count(rows: Int) {
    passes += 1
    self.rows += rows
  }

  private static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
