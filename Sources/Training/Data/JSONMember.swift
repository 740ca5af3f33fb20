/// A name and its value in a JSON object.
package struct JSONMember: Equatable, Sendable {
  /// UTF-8, escapes resolved.
  package let name: [UInt8]
  package let value: JSONValue

  package init(name: [UInt8], value: JSONValue) {
    self.name = name
    self.value = value
  }
}
