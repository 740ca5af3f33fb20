import Tensor

/// Who speaks in a conversation.
package enum ChatRole: String, CaseIterable, Sendable {
  case system
  case user
  case assistant

  /// The role called `name`. Throws `.invalidArgument` listing those that there are.
  package init(named name: String) throws(IVGError) {
    guard let role = ChatRole(rawValue: name) else {
      let names = Self.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
      throw IVGError(
        .invalidArgument, "a message's role is \"\(name.prefix(64))\"; it can be one of \(names)")
    }
    self = role
  }
}
