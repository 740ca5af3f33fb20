/// Sequences of tokens one after the other, to be computed together. No sequence sees another; none is
/// filled up to a common length.
package struct PackedBatch {
  /// All tokens, in order of sequences.
  package private(set) var tokens: [Int32] = []
  /// The rows of each sequence.
  package private(set) var sequences: [Range<Int>] = []
  /// A number for each sequence that, with a token's place, selects what dropout drops.
  package private(set) var keys: [UInt64] = []

  package init() {}

  package var count: Int { tokens.count }

  /// Adds a sequence and returns its rows.
  @discardableResult
  package mutating func append(_ sequence: some Collection<Int32>, key: UInt64 = 0) -> Range<Int> {
    let rows = tokens.count..<tokens.count + sequence.count
    tokens += sequence
    sequences.append(rows)
    keys.append(key)
    return rows
  }

  package mutating func removeAll() {
    tokens.removeAll(keepingCapacity: true)
    sequences.removeAll(keepingCapacity: true)
    keys.removeAll(keepingCapacity: true)
  }
}
