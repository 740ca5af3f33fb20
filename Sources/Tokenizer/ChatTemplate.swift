import GGUF
import Tensor

/// Writes conversations as a model's `tokenizer.chat_template` does, to the byte, for templates of
/// families that are known; there is no Jinja here.
///
/// A template that is not known is refused, never guessed at.
///
/// Threads: immutable, shareable.
package struct ChatTemplate: Sendable {
  /// The family.
  private let style: ChatStyle

  /// The system message of a conversation that brings none.
  private let defaultSystem: [UInt8]?

  /// What ends a turn; the last thing of a completion.
  package var turnEnd: [UInt8] { Array(style.turnEnd.utf8) }

  /// Recognises the chat template of a model file.
  ///
  /// Throws `.unsupported` if the file has none or it is not known; `.corruptFile` if it is no
  /// text.
  package init(file: GGUFFile) throws(IVGError) {
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
      source: Array(source.prefix(ChatPattern.maximumLength + 1)), label: file.path)
  }

  /// Recognises the chat template `source`; `label` names it in messages. Throws `.unsupported`.
  package init(source: [UInt8], label: String) throws(IVGError) {
    for style in ChatStyle.known {
      for pattern in style.sources {
        guard let match = ChatPattern(pattern).match(source) else { continue }
        self.style = style
        defaultSystem = match.hole
        return
      }
    }
    let names = ChatStyle.known.map(\.name).joined(separator: ", ")
    throw IVGError(
      .unsupported, "\(label): the chat template is none that is known (\(names)); \(Self.remedy)")
  }

  /// What to do without a template.
  private static let remedy = "render conversations to \"prompt\" and \"completion\" beforehand"

  /// `messages` as text. With `addGenerationPrompt` the beginning of an answer follows.
  ///
  /// Throws `.invalidArgument` if there are none.
  package func render(
    _ messages: [ChatMessage], addGenerationPrompt: Bool
  ) throws(IVGError) -> [UInt8] {
    guard !messages.isEmpty else {
      throw IVGError(.invalidArgument, "a conversation needs at least one message")
    }
    return text(messages, of: messages, addGenerationPrompt: addGenerationPrompt)
  }

  /// A conversation that ends with an answer, as what the model reads and what it generates: all
  /// before the answer with a generation prompt, and the answer with `turnEnd`.
  ///
  /// Throws `.invalidArgument` if the last message is not the assistant's.
  package func split(
    _ messages: [ChatMessage]
  ) throws(IVGError) -> (prompt: [UInt8], completion: [UInt8]) {
    guard let answer = messages.last, answer.role == .assistant else {
      throw IVGError(.invalidArgument, "the last message must be the assistant's")
    }
    return (
      text(messages.dropLast(), of: messages, addGenerationPrompt: true), answer.content + turnEnd
    )
  }

  /// `messages`, the first of `all`, as text.
  private func text(
    _ messages: some Sequence<ChatMessage>, of all: [ChatMessage], addGenerationPrompt: Bool
  ) -> [UInt8] {
    var text: [UInt8] = []
    if let defaultSystem, all.first?.role != .system {
      turn(.system, defaultSystem, into: &text)
    }
    for message in messages { turn(message.role, message.content, into: &text) }
    if addGenerationPrompt { begin(.assistant, into: &text) }
    return text
  }

  private func turn(_ role: ChatRole, _ content: [UInt8], into text: inout [UInt8]) {
    begin(role, into: &text)
    text += content
    text += style.turnEnd.utf8
    text += style.afterTurn.utf8
  }

  private func begin(_ role: ChatRole, into text: inout [UInt8]) {
    text += style.turnStart.utf8
    text += (style.roles[role] ?? role.rawValue).utf8
    text += style.afterRole.utf8
  }
}
