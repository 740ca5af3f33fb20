import Tensor

/// Which corner of the search machine runs: W rows are kept, each is copied K times, after every L
/// tokens the best W of all are kept again.
package struct SearchOptions: Sendable {
  /// What happens to a kept row that is finished.
  package enum FinishedRows: UInt32, Sendable {
    /// It keeps one slot and competes, at no cost.
    case pool = 0
    /// It is copied K times like any other (as the reference code does).
    case tile = 1
  }

  /// From which tokens a tilted step samples.
  package enum Candidates: UInt32, Sendable {
    /// Top-k of the tilted logits (IVG).
    case tilted = 0
    /// The base's top-k, then tilted (ARGS, RAD, FUDGE).
    case base = 1
  }

  package var width: Int
  package var successors: Int
  /// Tokens between selections; nil: one selection, at the end.
  package var chunk: Int?
  package var finishedRows = FinishedRows.pool
  package var dedupe = false
  package var candidates = Candidates.tilted

  /// Rows that are drawn together.
  package var rowCount: Int { width * successors }

  /// Most rows that a request may draw together.
  package static let rowLimit = 1024

  /// `chunk` 0 means no chunks.
  ///
  /// Throws `.invalidArgument` naming the field and the bound.
  package init(width: Int, successors: Int, chunk: Int) throws(IVGError) {
    for (name, value) in [("width", width), ("successors", successors)] {
      guard (1...Self.rowLimit).contains(value) else {
        throw IVGError(
          .invalidArgument, "\(name) is \(value); it must be within 1...\(Self.rowLimit)")
      }
    }
    guard width * successors <= Self.rowLimit else {
      throw IVGError(
        .invalidArgument,
        "width × successors is \(width * successors); at most \(Self.rowLimit) rows are drawn together"
      )
    }
    self.width = width
    self.successors = successors
    self.chunk = chunk == 0 ? nil : chunk
  }
}
