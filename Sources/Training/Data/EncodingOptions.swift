import Tensor

/// How examples become tokens.
package struct EncodingOptions: Equatable, Sendable {
  /// What stands around a prompt, as at inference: `{prompt}` is where it goes; nil is the bare
  /// prompt.
  package let promptTemplate: [UInt8]?

  /// Tokens of a prompt and a completion together, at most. A completion that is longer loses its
  /// end.
  package let maximumLength: Int

  /// Tokens of a prompt, at most. A prompt that is longer loses its beginning, but for a BOS token
  /// that the model asks for.
  package let maximumPromptLength: Int

  /// Whether a completion that has not been cut ends with the tokenizer's end token, so that the
  /// model learns to end there. A conversation's completion ends with the mark of its turn and gets
  /// none.
  package let appendsEnd: Bool

  /// Without `maximumPromptLength` a prompt may take half.
  ///
  /// Throws `.invalidArgument` unless 1 ≤ `maximumPromptLength` < `maximumLength` ≤ 2³¹ − 1.
  package init(
    promptTemplate: [UInt8]? = nil, maximumLength: Int, maximumPromptLength: Int? = nil,
    appendsEnd: Bool = true
  ) throws(IVGError) {
    guard maximumLength >= 2, maximumLength <= Int(Int32.max) else {
      throw IVGError(
        .invalidArgument,
        "the maximum length is \(maximumLength) tokens; it must be 2 to \(Int32.max)")
    }
    let prompt = maximumPromptLength ?? maximumLength / 2
    guard prompt >= 1, prompt < maximumLength else {
      throw IVGError(
        .invalidArgument,
        "the maximum length of prompts is \(prompt) tokens; it must be at least 1 and below the "
          + "maximum length, \(maximumLength)")
    }
    self.promptTemplate = promptTemplate
    self.maximumLength = maximumLength
    self.maximumPromptLength = prompt
    self.appendsEnd = appendsEnd
  }
}
