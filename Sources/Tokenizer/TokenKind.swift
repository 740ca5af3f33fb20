/// What a vocabulary entry is for, as `tokenizer.ggml.token_type` numbers it.
enum TokenKind: UInt8, Sendable {
  /// Ordinary text.
  case normal = 1
  /// Stands for what the vocabulary cannot spell; matched in text like a control token.
  case unknown = 2
  /// Structure, not text: recognised in text only when the caller asks for it.
  case control = 3
  /// Added by hand: always recognised in text, before anything else, and spelled verbatim.
  case userDefined = 4
  /// A hole: padding or reserved.
  case unused = 5
  /// One raw byte of a SentencePiece vocabulary.
  case byte = 6

  /// The kind for a number of the file; numbers nobody has defined count as ordinary text.
  init(fileValue: Int64) {
    self = UInt8(exactly: fileValue).flatMap(TokenKind.init(rawValue:)) ?? .normal
  }
}
