/// How a chat template writes one message: fixed texts around its content.
///
/// In these texts and those of a `ChatStyle` the characters `ChatStyle.begin` and `ChatStyle.end`
/// stand for the model's BOS and EOS tokens.
struct ChatTurn: Sendable {
  /// What comes before the content.
  var before: String

  /// What ends the content; the model generates it at the end of an answer.
  var end: String

  /// What comes after that, before the next turn; the model does not generate it.
  var after = ""

  /// Whether white space around the content goes, as by Jinja's `trim`.
  var trims = false
}
