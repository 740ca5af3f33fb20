import Tensor

/// Looks for stop strings in text that arrives in pieces, and says how much of it may be shown.
///
/// The first stop string to be completed counts; of several that end at the same byte, the longest.
/// So the outcome does not depend on how the text is cut. One pass, a few steps per byte and stop
/// string, whatever the text. The state is one integer per stop string; a copy shares the rest.
/// Threads: a value, one owner.
package struct StopMatcher: Sendable {
  /// Where things stand; all positions count bytes from the beginning of the text.
  package struct Progress: Equatable, Sendable {
    /// Everything before this position is certainly before any stop string: it may be shown.
    package var safe: Int
    /// Where the stop string begins that ended the text (then equal to `safe`), or nil.
    package var stop: Int?
    /// Which stop string it was: its index among those passed to `init`, empty ones included.
    package var stopIndex: Int?

    /// The parts.
    package init(safe: Int, stop: Int?, stopIndex: Int?) {
      (self.safe, self.stop, self.stopIndex) = (safe, stop, stopIndex)
    }
  }

  /// One stop string with its failure table: for each length, the length of the longest proper
  /// suffix of that much of the string that is also its prefix.
  private struct Pattern: Sendable {
    /// Index among the strings passed to `init`.
    let index: Int
    /// The string.
    let bytes: [UInt8]
    /// The table; one more entry than bytes.
    let failure: [Int32]
  }

  /// The stop strings that are not empty.
  private let patterns: [Pattern]

  /// How many bytes of each pattern the text ends with.
  private var matched: [Int32]

  /// How many bytes have come.
  private var total = 0

  /// The stop that was found.
  private var found: Progress?

  /// A matcher at the beginning of a text. Empty stop strings never match. Throws
  /// `.invalidArgument` when one is longer than 65536 bytes or there are more than 1024.
  package init(stops: [[UInt8]]) throws(IVGError) {
    guard stops.count <= 1024 else {
      throw IVGError(.invalidArgument, "\(stops.count) stop strings are too many; at most 1024")
    }
    var patterns: [Pattern] = []
    for (index, bytes) in stops.enumerated() where !bytes.isEmpty {
      guard bytes.count <= 65536 else {
        throw IVGError(
          .invalidArgument,
          "stop string \(index) has \(bytes.count) bytes; at most 65536 are possible")
      }
      patterns.append(
        Pattern(index: index, bytes: bytes, failure: Self.failureTable(of: bytes)))
    }
    self.patterns = patterns
    matched = [Int32](repeating: 0, count: patterns.count)
  }

  /// Where things stand after everything fed so far.
  package var progress: Progress {
    found ?? Progress(safe: total - Int(matched.max() ?? 0), stop: nil, stopIndex: nil)
  }

  /// Takes more text and says where things stand. Once a stop has been found further text is
  /// ignored. Allocates nothing, except that the first call on a copy copies the state.
  @discardableResult
  package mutating func feed(_ bytes: some Sequence<UInt8>) -> Progress {
    for byte in bytes {
      if found != nil { break }
      take(byte)
    }
    return progress
  }

  /// Says that no more text will come: without a stop, all of it may be shown.
  package func finish() -> Progress {
    found ?? Progress(safe: total, stop: nil, stopIndex: nil)
  }

  /// Back to the beginning of a text, with the same stop strings.
  package mutating func reset() {
    for index in matched.indices { matched[index] = 0 }
    total = 0
    found = nil
  }

  /// Takes one byte.
  private mutating func take(_ byte: UInt8) {
    total += 1
    var longest = 0
    for index in patterns.indices {
      let pattern = patterns[index]
      var length = Int(matched[index])
      while length > 0 && pattern.bytes[length] != byte { length = Int(pattern.failure[length]) }
      if pattern.bytes[length] == byte { length += 1 }
      matched[index] = Int32(truncatingIfNeeded: length)
      if length == pattern.bytes.count && length > longest {
        longest = length
        found = Progress(safe: total - length, stop: total - length, stopIndex: pattern.index)
      }
    }
  }

  /// The failure table of `bytes`, in linear time.
  private static func failureTable(of bytes: [UInt8]) -> [Int32] {
    var table = [Int32](repeating: 0, count: bytes.count + 1)
    var length = 0
    for position in 1..<max(bytes.count, 1) {
      while length > 0 && bytes[length] != bytes[position] { length = Int(table[length]) }
      if bytes[length] == bytes[position] { length += 1 }
      table[position + 1] = Int32(truncatingIfNeeded: length)
    }
    return table
  }
}
