/// How plain text becomes tokens: one implementation per `tokenizer.ggml.model`.
///
/// Special tokens, the begin token and the way back from ids to bytes are the same for all and live
/// in `Tokenizer`. Threads: implementations are immutable, so that one serves all threads at once.
protocol TokenizerModel: Sendable {
  /// Appends the tokens of `text`, in which special tokens mean nothing. Never fails: every byte
  /// sequence has an encoding. `text.count` is at most `Int32.max`.
  func encode(_ text: UnsafeRawBufferPointer, into output: inout [Int32])
}
