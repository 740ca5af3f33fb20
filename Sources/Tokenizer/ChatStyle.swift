/// How one family of chat models writes a conversation: data, and all that a new family needs (see
/// `ChatStyle+Known.swift`).
///
/// A turn is `turnStart` role `afterRole` content `turnEnd` `afterTurn`; a generation prompt is the
/// beginning of the assistant's turn, up to its content.
struct ChatStyle: Sendable {
  /// Stands in `sources` for the default system message.
  static let hole: UInt8 = 0

  /// The family, for messages.
  let name: String

  /// Chat templates that write this, as model files have them. A template of a model matches if it
  /// is the same but for white space between words of Jinja and for how a newline is written, with
  /// any plain text at `hole`; a template with holes has the same text in each.
  let sources: [String]

  /// What comes before a role.
  let turnStart: String

  /// What comes between a role and the content.
  let afterRole: String

  /// What ends the content; the model generates it.
  let turnEnd: String

  /// What comes after that, before the next turn; the model does not generate it.
  let afterTurn: String

  /// How each role is spelled.
  let roles: [ChatRole: String]
}
