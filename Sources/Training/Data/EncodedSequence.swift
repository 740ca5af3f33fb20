/// A prompt and its completion as tokens.
package struct EncodedSequence: Equatable, Sendable {
  /// Prompt, then completion.
  package let tokens: [Int32]

  /// Where the completion begins: at least 1, as the first token is predicted from nothing, and
  /// below `tokens.count`. Losses count the tokens from here on.
  package let completionStart: Int

  package init(tokens: [Int32], completionStart: Int) {
    self.tokens = tokens
    self.completionStart = completionStart
  }
}
