/// How plain text becomes tokens: one implementation per `tokenizer.ggml.model`.
///
/// Special tokens, the begin token and the way back from ids to bytes are the same for all and live
/// in `Tokenizer`. Threads: implementations are immutable, so that one serves all threads at once.
protocol TokenizerModel: Sendable {
  /// Where a text gets a space in front.
  var spacePrefix: SpacePrefix { get }

  /// Appends the tokens of `text`, in which special tokens mean nothing. `isBeginning`: nothing is
  /// before it, or a special token behind which `spacePrefix` counts. Never fails: every byte sequence has an encoding. `text.count`
  /// is at most `Int32.max`.
  func encode(_ text: UnsafeRawBufferPointer, isBeginning: Bool, into output: inout [Int32])

  /// Whether `text` and everything that goes on behind it is tokenised alike as a whole and in two
  /// parts, the second one from `position` on (and not as a beginning). `position` is inside the
  /// text. May be false of places where that is so.
  func isSeam(_ text: UnsafeRawBufferPointer, at position: Int) -> Bool
}
