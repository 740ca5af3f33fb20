/// What one line of data says.
package struct Example: Equatable, Sendable {
  /// What follows the prompt.
  package enum Answer: Equatable, Sendable {
    /// One completion. The reward is finite, and nil only where `DataLayout.completion` was wanted.
    case completion([UInt8], reward: Double?)
    /// Two completions that differ, the better one first. Where `DataLayout.completion` was wanted,
    /// both are to be learned alike.
    case preference(chosen: [UInt8], rejected: [UInt8])
  }

  /// What the model reads; may be empty.
  package let prompt: [UInt8]

  /// What it should write; never empty.
  package let answer: Answer

  /// Whether a chat template wrote the texts. Then special tokens in completions count, and a
  /// completion ends with the mark of the end of a turn.
  package let isConversation: Bool

  package init(prompt: [UInt8], answer: Answer, isConversation: Bool = false) {
    self.prompt = prompt
    self.answer = answer
    self.isConversation = isConversation
  }
}
