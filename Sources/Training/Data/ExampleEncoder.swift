import Tensor
import Tokenizer

/// Turns examples into tokens, as inference would read them.
///
/// A prompt and the prompt with its completion are tokenised separately; the completion begins
/// where the two differ. So a token that holds the end of the prompt and the beginning of the
/// completion is part of the completion. Special tokens are parsed in prompts, and in completions
/// only where a chat template wrote them.
///
/// A prompt without any token begins with BOS, else EOS, as at inference. If there is neither, or
/// the completion has melted into the prompt's first token, then the first token stands for the
/// prompt and is not learned.
///
/// Ownership: keeps the tokenizer. Threads: immutable, shareable.
package struct ExampleEncoder: Sendable {
  private let tokenizer: Tokenizer
  private let options: EncodingOptions

  /// What ends a completion; nil if nothing shall.
  private let endToken: Int32?

  /// Throws `.invalidArgument` if an end token is to be appended and the tokenizer has none.
  package init(tokenizer: Tokenizer, options: EncodingOptions) throws(IVGError) {
    if options.appendsEnd && tokenizer.endToken == nil {
      throw IVGError(
        .invalidArgument,
        "the model names no EOS token to end completions with; train without an end, or name one in "
          + "the file"
      )
    }
    self.tokenizer = tokenizer
    self.options = options
    endToken = options.appendsEnd ? tokenizer.endToken : nil
  }

  /// The tokens of `example`. Throws `.invalidArgument` for texts beyond 2 GiB.
  package func encode(_ example: Example) throws(IVGError) -> EncodedExample {
    let text = PromptTemplate.fill(options.promptTemplate, prompt: example.prompt)
    let prompt = try self.prompt(text)
    switch example.answer {
    case .completion(let completion, let reward):
      guard
        let sequence = try sequence(
          prompt, text, completion, isConversation: example.isConversation)
      else { return .skipped(reason: "no token is left of the completion") }
      return .completion(sequence, reward: reward)
    case .preference(let chosen, let rejected):
      guard
        let better = try sequence(prompt, text, chosen, isConversation: example.isConversation)
      else { return .skipped(reason: "no token is left of \"chosen\"") }
      guard
        let worse = try sequence(prompt, text, rejected, isConversation: example.isConversation)
      else { return .skipped(reason: "no token is left of \"rejected\"") }
      if better.tokens == worse.tokens {
        return .skipped(reason: "\"chosen\" and \"rejected\" are the same tokens once they are cut")
      }
      return .preference(chosen: better, rejected: worse)
    }
  }

  /// A prompt alone.
  private struct Prompt {
    let tokens: [Int32]
    /// Put before an empty prompt, so not in the tokens of the text.
    let beginsWithFiller: Bool
  }

  private func prompt(_ text: [UInt8]) throws(IVGError) -> Prompt {
    let tokens = try tokenizer.encode(
      text, parseSpecial: true, addBegin: tokenizer.addsBeginToken)
    guard tokens.isEmpty, let first = tokenizer.beginToken ?? tokenizer.endToken else {
      return Prompt(tokens: tokens, beginsWithFiller: false)
    }
    return Prompt(tokens: [first], beginsWithFiller: true)
  }

  /// `prompt`, whose text is `text`, and `completion`; nil if no token of the completion is left.
  private func sequence(
    _ prompt: Prompt, _ text: [UInt8], _ completion: [UInt8], isConversation: Bool
  ) throws(IVGError) -> EncodedSequence? {
    let addBegin = tokenizer.addsBeginToken
    var tokens = try tokenizer.encode(
      prompt: text, completion: completion, addBegin: addBegin, parseCompletion: isConversation)
    if prompt.beginsWithFiller { tokens.insert(prompt.tokens[0], at: 0) }
    var start = 0
    while start < min(tokens.count, prompt.tokens.count), tokens[start] == prompt.tokens[start] {
      start += 1
    }
    start = max(start, 1)
    guard start < tokens.count else { return nil }
    if let endToken, !isConversation { tokens.append(endToken) }

    // What is cut depends on the prompt alone, so that two completions see the same of it.
    let first = addBegin ? 1 : 0
    let excess = max(prompt.tokens.count - options.maximumPromptLength, 0)
    // One token must stay before the completion: BOS, or the prompt's last.
    let cut = max(min(excess, start - max(first, 1)), 0)
    tokens.removeSubrange(first..<first + cut)
    start -= cut
    if tokens.count > options.maximumLength {
      tokens.removeLast(tokens.count - options.maximumLength)
    }
    return EncodedSequence(tokens: tokens, completionStart: start)
  }
}
