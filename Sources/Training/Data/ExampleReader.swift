import Tensor
import Tokenizer

/// Makes an `Example` of a parsed line of data, in one of the layouts that users of TRL have:
///
///     {"prompt": "…", "chosen": "…", "rejected": "…"}
///     {"prompt": […], "chosen": […], "rejected": […]}
///     {"chosen": […], "rejected": […]}        the prompt is the messages that both begin with
///     {"prompt": "…", "completion": "…"}
///     {"prompt": […], "completion": […]}
///     {"messages": […]}                       the last message is the completion
///     {"text": "…"}                           a completion without prompt
///
/// where […] is a list of messages, {"role": "user", "content": "…"}. Roles are system, user and
/// assistant; a completion is one message of the assistant's. With "reward", a number, all but the
/// first three serve `DataLayout.rewarded`; the first three serve `.preference`; all serve
/// `.completion`. Of several layouts on a line the first in this list counts. `null` is as good as
/// absent; fields that are not named here are ignored.
///
/// Threads: immutable, shareable.
package struct ExampleReader: Sendable {
  /// What every line must say.
  package let layout: DataLayout

  /// Writes conversations; or why there is nothing that does.
  private let chatTemplate: Result<ChatTemplate, IVGError>

  /// `chatTemplate` is asked for only by lines with messages; if it is an error, that is their
  /// reason.
  package init(layout: DataLayout, chatTemplate: Result<ChatTemplate, IVGError>) {
    self.layout = layout
    self.chatTemplate = chatTemplate
  }

  /// The example on a line.
  ///
  /// Throws `.invalidArgument`, or what `chatTemplate` is, with a message that names the field.
  package func read(_ line: JSONValue) throws(IVGError) -> Example {
    let line = try LineFields(line)
    switch layout {
    case .preference: return try preference(line)
    case .rewarded:
      return try completion(line) { () throws(IVGError) in try line.finiteNumber("reward") }
    case .completion:
      if line["chosen"] != nil || line["rejected"] != nil { return try preference(line) }
      return try completion(line) { nil }
    }
  }

  /// A line with one completion.
  private func completion(
    _ line: LineFields, reward: () throws(IVGError) -> Double?
  ) throws(IVGError) -> Example {
    if line["completion"] != nil {
      switch (try line.content("prompt"), try line.content("completion")) {
      case (.text(let prompt), .text(let completion)):
        return try example(prompt, completion, "completion", reward: reward())
      case (.messages(let prompt), .messages(let completion)):
        return try conversation(
          line, openPrompt(prompt) + answer(completion, "completion"), "completion",
          reward: reward())
      default: throw LineFields.differentForms("prompt", "completion")
      }
    }
    if line["messages"] != nil {
      return try conversation(
        line, try line.messages("messages"), "messages", reward: try reward())
    }
    if line["text"] != nil {
      return try example([], try line.text("text"), "text", reward: try reward())
    }
    if line["prompt"] != nil { throw LineFields.missing("completion") }
    throw LineFields.failure(
      "none of \"completion\", \"messages\" and \"text\" is there")
  }

  /// A line with two completions.
  private func preference(_ line: LineFields) throws(IVGError) -> Example {
    switch (try line.content("chosen"), try line.content("rejected")) {
    case (.text(let chosen), .text(let rejected)):
      guard case .text(let prompt) = try line.content("prompt") else {
        throw LineFields.differentForms("prompt", "chosen")
      }
      return try example(prompt, chosen: chosen, rejected: rejected)
    case (.messages(var chosen), .messages(var rejected)):
      let prompt: [ChatMessage]
      if line["prompt"] == nil {
        let last = min(chosen.count, rejected.count) - 1
        var common = 0
        while common < last, chosen[common] == rejected[common] { common += 1 }
        prompt = Array(chosen[..<max(common, 0)])
        chosen.removeFirst(prompt.count)
        rejected.removeFirst(prompt.count)
      } else if case .messages(let messages) = try line.content("prompt") {
        prompt = try openPrompt(messages)
      } else {
        throw LineFields.differentForms("prompt", "chosen")
      }
      let template = try chat(for: line)
      let better = try template.split(prompt + answer(chosen, "chosen"))
      let worse = try template.split(prompt + answer(rejected, "rejected"))
      return try example(
        better.prompt, chosen: better.completion, rejected: worse.completion, isConversation: true)
    default: throw LineFields.differentForms("chosen", "rejected")
    }
  }

  // Parts

  private func example(
    _ prompt: [UInt8], _ completion: [UInt8], _ name: StaticString, reward: Double?
  ) throws(IVGError) -> Example {
    guard !completion.isEmpty else { throw LineFields.failure("\"\(name)\" is empty") }
    return Example(prompt: prompt, answer: .completion(completion, reward: reward))
  }

  private func example(
    _ prompt: [UInt8], chosen: [UInt8], rejected: [UInt8], isConversation: Bool = false
  ) throws(IVGError) -> Example {
    if chosen.isEmpty { throw LineFields.failure("\"chosen\" is empty") }
    if rejected.isEmpty { throw LineFields.failure("\"rejected\" is empty") }
    if chosen == rejected {
      throw LineFields.failure("\"chosen\" and \"rejected\" are the same")
    }
    return Example(
      prompt: prompt, answer: .preference(chosen: chosen, rejected: rejected),
      isConversation: isConversation)
  }

  /// The example of a conversation whose last message, in the field `name`, is the completion.
  private func conversation(
    _ line: LineFields, _ messages: [ChatMessage], _ name: StaticString, reward: Double?
  ) throws(IVGError) -> Example {
    guard let last = messages.last else { throw LineFields.failure("\"\(name)\" is empty") }
    try check(last, name)
    let (prompt, completion) = try chat(for: line).split(messages)
    return Example(
      prompt: prompt, answer: .completion(completion, reward: reward), isConversation: true)
  }

  /// `messages` if an answer may follow.
  private func openPrompt(_ messages: [ChatMessage]) throws(IVGError) -> [ChatMessage] {
    if messages.last?.role == .assistant {
      throw LineFields.failure(
        "\"prompt\" ends with the assistant's message; to go on with one is not supported")
    }
    return messages
  }

  /// `messages` if they are one answer.
  private func answer(
    _ messages: [ChatMessage], _ name: StaticString
  ) throws(IVGError) -> [ChatMessage] {
    guard messages.count == 1 else {
      throw LineFields.failure(
        "\"\(name)\" has \(messages.count) messages after the prompt; it must have one, the "
          + "assistant's")
    }
    try check(messages[0], name)
    return messages
  }

  /// Throws unless `message` can be a completion.
  private func check(_ message: ChatMessage, _ name: StaticString) throws(IVGError) {
    guard message.role == .assistant else {
      throw LineFields.failure("\"\(name)\": the last message must be the assistant's")
    }
    guard !message.content.isEmpty else {
      throw LineFields.failure("\"\(name)\": the last message is empty")
    }
  }

  /// What writes the conversation on `line`.
  private func chat(for line: LineFields) throws(IVGError) -> ChatTemplate {
    switch line["tools"] {
    case nil, .array([]), .string([]): return try chatTemplate.get()
    default: throw LineFields.failure("\"tools\" is not supported")
    }
  }
}
