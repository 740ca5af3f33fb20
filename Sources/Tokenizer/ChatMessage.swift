/// One turn of a conversation.
package struct ChatMessage: Equatable, Sendable {
  /// Who speaks.
  package let role: ChatRole

  /// What is said, in UTF-8 and verbatim: special tokens written in it stay what they are.
  package let content: [UInt8]

  package init(role: ChatRole, content: [UInt8]) {
    self.role = role
    self.content = content
  }
}
