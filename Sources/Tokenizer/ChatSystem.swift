/// What a chat template does with a system message.
enum ChatSystem: Sendable {
  /// Writes it as a turn.
  case turn(ChatTurn)
  /// The same, but nothing if it is empty.
  case turnUnlessEmpty(ChatTurn)
  /// Puts it into the conversation's first turn, the user's, before its content. `isTrimmed`: with
  /// the content, as one.
  case intoFirst(before: String, after: String, isTrimmed: Bool)
  /// Puts it into the conversation's last turn if that is the user's, before its content; else it
  /// is lost.
  case intoLast(after: String)
  /// Writes nothing.
  case nothing
  /// Raises an error.
  case refused
}
