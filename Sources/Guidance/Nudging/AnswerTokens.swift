import Tensor
import Tokenizer

/// An answer in one model's tokens, as its tokenizer cuts the whole text. Text only ever grows at its end:
/// what stands before a safe boundary is cut once.
struct AnswerTokens {
  private let tokenizer: Tokenizer
  /// Bytes before the boundary, and their tokens.
  private var settled = 0
  private var tokens: [Int32] = []

  init(_ tokenizer: Tokenizer) { self.tokenizer = tokenizer }

  /// The tokens of `text`, which goes on from what was settled.
  func tokens(of text: ArraySlice<UInt8>) throws(IVGError) -> [Int32] {
    tokens + (try encode(text[(text.startIndex + settled)...]))
  }

  /// Takes note that the answer begins with `text`.
  mutating func settle(_ text: [UInt8]) throws(IVGError) {
    guard let seam = tokenizer.lastSeam(in: text, after: settled) else { return }
    tokens += try encode(text[settled..<seam])
    settled = seam
  }

  /// The one place where an answer is encoded: always as text that goes on behind other text.
  private func encode(_ text: ArraySlice<UInt8>) throws(IVGError) -> [Int32] {
    try tokenizer.encode(
      Array(text), parseSpecial: false, addBegin: false, continues: true)
  }
}
