import GGUF
import Tensor
import Tokenizer

/// The fields of a line of data, checked as they are asked for. Errors are `.invalidArgument` and
/// name the field.
struct LineFields {
  /// A field that may be written in two ways.
  enum Content {
    case text([UInt8])
    case messages([ChatMessage])
  }

  private let line: JSONValue

  /// The fields of `line`, which must be an object.
  init(_ line: JSONValue) throws(IVGError) {
    guard case .object = line else {
      throw Self.failure("the line is \(line.kindName); it must be an object")
    }
    self.line = line
  }

  /// The value of a field; nil if it is absent or null.
  subscript(_ name: StaticString) -> JSONValue? {
    let value = line[name]
    return value == .null ? nil : value
  }

  /// A field that must be a string.
  func text(_ name: StaticString) throws(IVGError) -> [UInt8] {
    guard let value = self[name] else { throw Self.missing(name) }
    guard case .string(let text) = value else {
      throw Self.wrongKind("\"\(name)\"", value, wanted: "a string")
    }
    return text
  }

  /// A field that must be a number, and not infinite.
  func finiteNumber(_ name: StaticString) throws(IVGError) -> Double {
    guard let value = self[name] else { throw Self.missing(name) }
    guard case .number(let number) = value else {
      throw Self.wrongKind("\"\(name)\"", value, wanted: "a number")
    }
    guard number.isFinite else { throw Self.failure("\"\(name)\" is too large a number") }
    return number
  }

  /// A field that must be a list of messages.
  func messages(_ name: StaticString) throws(IVGError) -> [ChatMessage] {
    guard let value = self[name] else { throw Self.missing(name) }
    guard case .array(let list) = value else {
      throw Self.wrongKind("\"\(name)\"", value, wanted: "a list of messages")
    }
    return try Self.messages(list, name)
  }

  /// A field that must be a string or a list of messages.
  func content(_ name: StaticString) throws(IVGError) -> Content {
    guard let value = self[name] else { throw Self.missing(name) }
    switch value {
    case .string(let text): return .text(text)
    case .array(let list): return .messages(try Self.messages(list, name))
    default:
      throw Self.wrongKind("\"\(name)\"", value, wanted: "a string or a list of messages")
    }
  }

  private static func messages(
    _ list: [JSONValue], _ name: StaticString
  ) throws(IVGError) -> [ChatMessage] {
    var messages: [ChatMessage] = []
    messages.reserveCapacity(list.count)
    for (index, value) in list.enumerated() {
      messages.append(try message(value, "\"\(name)\"[\(index)]"))
    }
    return messages
  }

  private static func message(_ value: JSONValue, _ place: String) throws(IVGError) -> ChatMessage {
    guard case .object = value else {
      throw wrongKind(place, value, wanted: "a message: an object")
    }
    let name = try string(value["role"], "\(place).role")
    let spelling = String(decoding: name, as: UTF8.self)
    guard let role = ChatRole(rawValue: spelling) else {
      let known = ChatRole.allCases.map(\.rawValue).joined(separator: ", ")
      throw failure("\(place).role is \(quoted(spelling)); known: \(known)")
    }
    switch value["tool_calls"] {
    case nil, .null, .array([]): break
    default: throw failure("\(place).tool_calls is not supported")
    }
    return ChatMessage(role: role, content: try string(value["content"], "\(place).content"))
  }

  private static func string(_ value: JSONValue?, _ place: String) throws(IVGError) -> [UInt8] {
    guard let value else { throw failure("\(place) is missing") }
    guard case .string(let text) = value else {
      throw wrongKind(place, value, wanted: "a string")
    }
    return text
  }

  // Errors

  static func failure(_ message: String) -> IVGError { IVGError(.invalidArgument, message) }

  static func missing(_ name: StaticString) -> IVGError { failure("\"\(name)\" is missing") }

  static func differentForms(_ one: StaticString, _ other: StaticString) -> IVGError {
    failure("one of \"\(one)\" and \"\(other)\" is a string, the other a list of messages")
  }

  private static func wrongKind(
    _ place: String, _ value: JSONValue, wanted: String
  ) -> IVGError {
    failure("\(place) is \(value.kindName); it must be \(wanted)")
  }
}
