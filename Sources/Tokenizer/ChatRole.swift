/// Who speaks in a conversation.
package enum ChatRole: String, CaseIterable, Sendable {
  case system
  case user
  case assistant
}
