/// How one family of chat models writes a conversation: data, and all that a new family needs (see
/// `ChatStyle+Known.swift`).
///
/// A conversation is `opening`, a turn for each message, and the generation prompt: the beginning
/// of the assistant's turn.
struct ChatStyle: Sendable {
  /// When the generation prompt is written.
  enum Generation: Sendable {
    case whenAsked
    case always
    /// The user's turn ends with it, or there is none.
    case never
  }

  /// Stands in `sources` for the default system message.
  static let hole: UInt8 = 0

  /// Stands in texts for the BOS token.
  static let begin: Character = "\u{1}"

  /// Stands in texts for the EOS token.
  static let end: Character = "\u{2}"

  /// The family, for messages and for hosts.
  let name: String

  /// Chat templates that write this, as model files have them. A template of a model matches if it
  /// is the same but for white space between words of Jinja and for how a newline is written, with
  /// any plain text at `hole`; a template with holes has the same text in each.
  let sources: [String]

  /// What comes before all turns.
  var opening = ""

  let user: ChatTurn
  let assistant: ChatTurn

  /// A system message at the beginning.
  let firstSystem: ChatSystem

  /// A system message elsewhere.
  let laterSystem: ChatSystem

  /// The system message of a conversation that does not begin with one, where no hole says it; nil
  /// if none is written.
  var defaultSystem: String?

  /// The generation prompt.
  var generation = ""
  var generates = Generation.whenAsked

  /// What comes at the end in place of the generation prompt.
  var closing = ""

  /// Whether every other message, the first but for the system's among them, must be the user's,
  /// and no others may.
  var alternates = false

  /// Whether `assistant.after` is left out behind the last message.
  var endsWithAnswer = false

  /// Whether answers have a part for thoughts, `<think>`, of which all but those behind the last
  /// question are left out.
  var thinks = false
}
