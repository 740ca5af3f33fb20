import Tensor

/// The beginning of a text that goes on behind another and grows at its end: up to a seam, behind which nothing changes
/// the tokens before it, it is cut into tokens once.
///
/// Threads: a value, one owner.
package struct SettledText: Sendable {
  /// Bytes before the seam, and their tokens.
  private(set) var byteCount = 0
  private(set) var tokens: [Int32] = []

  /// Nothing is settled.
  package init() {}

  /// The tokens of `text`, which goes on from what is settled.
  ///
  /// Throws `.invalidArgument` for texts beyond 2 GiB.
  package func tokens(of text: ArraySlice<UInt8>, with tokenizer: Tokenizer) throws(IVGError)
    -> [Int32]
  {
    tokens + (try Self.encode(text[(text.startIndex + byteCount)...], tokenizer))
  }

  /// Takes note that the text begins with `text`, which goes on from what is settled.
  package mutating func settle(_ text: [UInt8], with tokenizer: Tokenizer) throws(IVGError) {
    guard let seam = tokenizer.lastSeam(in: text, after: byteCount) else { return }
    tokens += try Self.encode(text[byteCount..<seam], tokenizer)
    byteCount = seam
  }

  private static func encode(_ text: ArraySlice<UInt8>, _ tokenizer: Tokenizer) throws(IVGError)
    -> [Int32]
  {
    try tokenizer.encode(Array(text), parseSpecial: false, addBegin: false, continues: true)
  }
}
