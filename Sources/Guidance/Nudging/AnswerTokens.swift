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
    let rest = text[settled...]
    let boundary = rest.withUnsafeBytes { tokenizer.lastBoundary(in: $0) }
    guard boundary > 0 else { return }
    tokens += try encode(rest.prefix(boundary))
    settled += boundary
  }

  /// The one place where an answer is encoded: always as text that goes on behind other text.
  private func encode(_ text: ArraySlice<UInt8>) throws(IVGError) -> [Int32] {
    try tokenizer.encode(Array(text), parseSpecial: false, addBegin: false)
  }
}
