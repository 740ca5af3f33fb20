import GGUF
import Tensor

/// Writes conversations as a model's `tokenizer.chat_template` does, to the byte, for templates of
/// families that are known; there is no Jinja here.
///
/// A template that is not known is refused, never guessed at. Variables that templates have beside
/// the messages are as if nobody had set them: no tools, the date that a template names for itself.
///
/// Threads: immutable, shareable.
package struct ChatTemplate: Sendable {
  /// The family.
  let style: ChatStyle

  /// The system message of a conversation that brings none.
  let defaultSystem: [UInt8]?

  /// The text of the BOS token, empty if there is none.
  let begin: [UInt8]

  /// The text of the EOS token, empty if there is none.
  let end: [UInt8]

  /// The name of the family.
  package var family: String { style.name }

  /// What ends a turn; the last thing of a completion.
  package var turnEnd: [UInt8] { expanded(style.assistant.end) }

  /// Recognises the chat template of a model file, whose tokenizer is `tokenizer`.
  ///
  /// Throws `.unsupported` if the file has none or it is not known; `.corruptFile` if it is no
  /// text.
  package init(file: GGUFFile, tokenizer: Tokenizer) throws(IVGError) {
    let key = "tokenizer.chat_template"
    guard let value = file.metadata[key] else {
      throw IVGError(
        .unsupported, "\(file.path): there is no chat template (\(key)); \(Self.remedy)")
    }
    guard case .string(let source) = value else {
      throw IVGError(
        .corruptFile, "\(file.path): \(key) is \(value.kindName); it must be a string")
    }
    try self.init(
      source: Array(source.prefix(ChatPattern.maximumLength + 1)), label: file.path,
      begin: tokenizer.text(of: tokenizer.beginToken), end: tokenizer.text(of: tokenizer.endToken))
  }

  /// Recognises the chat template `source`; `label` names it in messages. `begin` and `end`: the
  /// texts of BOS and EOS. Throws `.unsupported`.
  package init(
    source: [UInt8], label: String, begin: [UInt8], end: [UInt8]
  ) throws(IVGError) {
    for style in ChatStyle.known {
      for pattern in style.sources {
        guard let match = ChatPattern(pattern).match(source) else { continue }
        self.style = style
        defaultSystem = match.hole ?? style.defaultSystem.map { Array($0.utf8) }
        (self.begin, self.end) = (begin, end)
        return
      }
    }
    var names = ChatStyle.known.map(\.name)
    names = names.indices.filter { !names[..<$0].contains(names[$0]) }.map { names[$0] }
    throw IVGError(
      .unsupported,
      "\(label): the chat template is none that is known (\(names.joined(separator: ", "))); "
        + Self.remedy)
  }

  /// What to do without a template.
  private static let remedy = "render conversations to \"prompt\" and \"completion\" beforehand"

  /// `messages` as text. With `addGenerationPrompt` the beginning of an answer follows.
  ///
  /// Throws `.invalidArgument` if there are none, or the template refuses them: roles that do not
  /// alternate, a system message where there can be none.
  package func render(
    _ messages: [ChatMessage], addGenerationPrompt: Bool
  ) throws(IVGError) -> [UInt8] {
    guard !messages.isEmpty else {
      throw IVGError(.invalidArgument, "a conversation needs at least one message")
    }
    return try text(messages, addGenerationPrompt: addGenerationPrompt)
  }

  /// A conversation that ends with an answer, as what the model reads and what it generates: all
  /// before the answer with a generation prompt, and the answer with `turnEnd`.
  ///
  /// Throws `.invalidArgument` if the last message is not the assistant's, and as `render` does.
  package func split(
    _ messages: [ChatMessage]
  ) throws(IVGError) -> (prompt: [UInt8], completion: [UInt8]) {
    guard let answer = messages.last, answer.role == .assistant else {
      throw IVGError(.invalidArgument, "the last message must be the assistant's")
    }
    _ = try text(messages, addGenerationPrompt: false)
    let prompt = try text(Array(messages.dropLast()), addGenerationPrompt: true)
    // The prompt has the turn's beginning already, but for what the template does not write there.
    var turn = style.assistant
    let generation = style.generates == .never ? "" : style.generation
    if turn.before.hasPrefix(generation) {
      turn.before = String(turn.before.dropFirst(generation.count))
    }
    turn.after = ""
    let isBehindQuestion = style.thinks && lastQuestion(messages) < messages.count - 1
    let content =
      style.thinks
      ? ChatThoughts(answer.content).text(isLast: true, isBehindQuestion: isBehindQuestion)
      : answer.content
    return (prompt, written(turn, content))
  }

  // MARK: Writing

  private func text(
    _ messages: [ChatMessage], addGenerationPrompt: Bool
  ) throws(IVGError) -> [UInt8] {
    var text = expanded(style.opening)
    var rest = messages[...]
    var folded: [UInt8] = []
    if let first = rest.first, first.role == .system {
      rest = rest.dropFirst()
      folded = first.content
      try system(first.content, style.firstSystem, into: &text)
    } else if let defaultSystem {
      try system(defaultSystem, style.firstSystem, into: &text)
    }
    let hasSystem = rest.startIndex > 0
    let question = style.thinks ? lastQuestion(messages) : 0
    for index in rest.indices {
      let message = rest[index]
      let place = index - rest.startIndex
      if style.alternates, (message.role == .user) != (place % 2 == 0) {
        throw Self.failure("after a system message the roles user and assistant must alternate")
      }
      let isLast = index == messages.endIndex - 1
      switch message.role {
      case .system: try system(message.content, style.laterSystem, into: &text)
      case .user:
        let system = hasSystem ? folded : nil
        text += user(message.content, system, isFirst: place == 0, isLast: isLast)
      case .assistant:
        var turn = style.assistant
        if style.endsWithAnswer, isLast { turn.after = "" }
        let content =
          style.thinks
          ? ChatThoughts(message.content).text(isLast: isLast, isBehindQuestion: index > question)
          : message.content
        text += written(turn, content)
      }
    }
    switch style.generates {
    case .always: text += expanded(style.generation)
    case .whenAsked: text += expanded(addGenerationPrompt ? style.generation : style.closing)
    case .never: break
    }
    return text
  }

  private func system(
    _ content: [UInt8], _ rule: ChatSystem, into text: inout [UInt8]
  ) throws(IVGError) {
    switch rule {
    case .turn(let turn): text += written(turn, content)
    case .turnUnlessEmpty(let turn): if !content.isEmpty { text += written(turn, content) }
    case .intoFirst, .intoLast, .nothing: break
    case .refused: throw Self.failure("there can be no system message in this place")
    }
  }

  /// The user's turn; `system`: the message at the conversation's beginning.
  private func user(
    _ content: [UInt8], _ system: [UInt8]?, isFirst: Bool, isLast: Bool
  ) -> [UInt8] {
    guard let system else { return written(style.user, content) }
    switch style.firstSystem {
    case .intoFirst(let before, let after, let isTrimmed) where isFirst:
      let prefix = expanded(before) + system + expanded(after)
      if isTrimmed { return written(style.user, prefix + content) }
      var turn = style.user
      turn.trims = false
      return written(turn, prefix + (style.user.trims ? ChatText.trimmed(content) : content))
    case .intoLast(let after) where isLast:
      return written(style.user, system + expanded(after) + content)
    default: return written(style.user, content)
    }
  }

  private func written(_ turn: ChatTurn, _ content: [UInt8]) -> [UInt8] {
    let content = turn.trims ? ChatText.trimmed(content) : content
    return expanded(turn.before) + content + expanded(turn.end) + expanded(turn.after)
  }

  /// The last question of the user's, by Qwen 3's rules: results of tools are none; if there is
  /// none, the last message.
  private func lastQuestion(_ messages: [ChatMessage]) -> Int {
    messages.lastIndex {
      $0.role == .user
        && !($0.content.starts(with: "<tool_response>".utf8)
          && $0.content.reversed().starts(with: "</tool_response>".utf8.reversed()))
    } ?? messages.endIndex - 1
  }

  /// `text` with BOS and EOS in their places.
  private func expanded(_ text: String) -> [UInt8] {
    var result: [UInt8] = []
    for character in text {
      switch character {
      case ChatStyle.begin: result += begin
      case ChatStyle.end: result += end
      default: result += String(character).utf8
      }
    }
    return result
  }

  private static func failure(_ reason: String) -> IVGError {
    IVGError(.invalidArgument, "the chat template takes no such conversation: \(reason)")
  }
}

extension Tokenizer {
  /// The text of a BOS or EOS token; nothing without one.
  package func text(of token: Int32?) -> [UInt8] { token.map { Array(bytes(of: $0)) } ?? [] }
}
