/// One value of a JSON text, as `JSONParser` reads it.
///
/// Threads: a value, shareable. Depth is bounded by the parser, so that letting go of one cannot
/// exhaust the stack.
package enum JSONValue: Equatable, Sendable {
  case null
  case bool(Bool)
  /// The nearest double; beyond its range, an infinity.
  case number(Double)
  /// UTF-8, escapes resolved; may contain zero bytes.
  case string([UInt8])
  case array([JSONValue])
  /// In the order of the text, names that occur again included.
  case object([JSONMember])

  /// The member called `name` of an object; of several the last. Nil if there is none or this is no
  /// object.
  package subscript(_ name: StaticString) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    let wanted = UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
    return members.last { $0.name.elementsEqual(wanted) }?.value
  }

  /// What kind of value this is, for messages: "a string", "a list", …
  package var kindName: String {
    switch self {
    case .null: "null"
    case .bool: "a truth value"
    case .number: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "an object"
    }
  }
}
