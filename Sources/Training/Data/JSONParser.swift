import Tensor
import Tokenizer

/// Reads one JSON text, strictly by RFC 8259: no comments, no trailing commas, no NaN; strings are
/// valid UTF-8 and their surrogates come in pairs. A byte order mark is an error, as the RFC
/// allows.
///
/// Ownership: borrows the bytes for the call; the value has copies. Threads: any.
package struct JSONParser {
  /// Lists and objects inside each other, at most.
  package static let maximumDepth = 64

  /// Values in one text, at most. A value takes far more memory than the two bytes it may have in
  /// the text: this bounds what a small text can cost.
  package static let maximumValues = 1 << 20

  let bytes: UnsafeRawBufferPointer
  var position = 0
  private var depth = 0
  private var values = 0

  private init(_ bytes: UnsafeRawBufferPointer) {
    self.bytes = bytes
  }

  /// The value that all of `bytes`, but for white space around it, stands for.
  ///
  /// Throws `.corruptFile` with a message like "column 17: a string has no end", where columns
  /// count bytes from 1.
  package static func parse(_ bytes: UnsafeRawBufferPointer) throws(IVGError) -> JSONValue {
    var parser = JSONParser(bytes)
    let value = try parser.value()
    parser.skipSpace()
    guard parser.position == bytes.count else {
      throw parser.failure("\(parser.found()) follows the value")
    }
    return value
  }

  // Values

  /// The value that begins here, after white space. As deep as the text, at most `maximumDepth`.
  private mutating func value() throws(IVGError) -> JSONValue {
    skipSpace()
    values += 1
    guard values <= Self.maximumValues else {
      throw failure("there are more than \(Self.maximumValues) values")
    }
    switch peek() {
    case UInt8(ascii: "{"):
      return .object(try nested { parser throws(IVGError) in try parser.members() })
    case UInt8(ascii: "["):
      return .array(try nested { parser throws(IVGError) in try parser.elements() })
    case UInt8(ascii: "\""): return .string(try string())
    case let byte? where byte == UInt8(ascii: "-") || Self.isDigit(byte):
      return .number(try number())
    default:
      if take("true") { return .bool(true) }
      if take("false") { return .bool(false) }
      if take("null") { return .null }
      throw failure("\(found()) is no value")
    }
  }

  /// What `body` reads between an opening bracket, which is here, and its end.
  private mutating func nested<Result>(
    _ body: (inout JSONParser) throws(IVGError) -> Result
  ) throws(IVGError) -> Result {
    guard depth < Self.maximumDepth else {
      throw failure("lists and objects are nested deeper than \(Self.maximumDepth)")
    }
    depth += 1
    position += 1
    let result = try body(&self)
    depth -= 1
    return result
  }

  private mutating func elements() throws(IVGError) -> [JSONValue] {
    var elements: [JSONValue] = []
    skipSpace()
    if take("]") { return elements }
    while true {
      elements.append(try value())
      skipSpace()
      if take("]") { return elements }
      guard take(",") else { throw failure("\(found()) in a list, where , or ] must be") }
    }
  }

  private mutating func members() throws(IVGError) -> [JSONMember] {
    var members: [JSONMember] = []
    skipSpace()
    if take("}") { return members }
    while true {
      skipSpace()
      guard peek() == UInt8(ascii: "\"") else {
        throw failure("\(found()) in an object, where a name in quotes must be")
      }
      let name = try string()
      skipSpace()
      guard take(":") else { throw failure("\(found()) after a name, where : must be") }
      members.append(JSONMember(name: name, value: try value()))
      skipSpace()
      if take("}") { return members }
      guard take(",") else { throw failure("\(found()) in an object, where , or } must be") }
    }
  }

  /// The number that begins here. All digits count: the result is the nearest double.
  private mutating func number() throws(IVGError) -> Double {
    let start = position
    _ = take("-")
    if !take("0") { try digits() }
    if take(".") { try digits() }
    if take("e") || take("E") {
      if !take("+") { _ = take("-") }
      try digits()
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    guard let number = Double(text) else {
      throw failure("a number cannot be read", at: start)
    }
    return number
  }

  /// Passes one digit or more.
  private mutating func digits() throws(IVGError) {
    let start = position
    while let byte = peek(), Self.isDigit(byte) { position += 1 }
    if position == start { throw failure("\(found()) in a number, where a digit must be") }
  }

  // Bytes

  static func isDigit(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
  }

  /// The next byte; nil at the end.
  @inline(__always)
  func peek() -> UInt8? {
    position < bytes.count ? bytes[position] : nil
  }

  /// Passes `text` if it is here.
  @inline(__always)
  private mutating func take(_ text: StaticString) -> Bool {
    let count = text.utf8CodeUnitCount
    guard count <= bytes.count - position else { return false }
    for offset in 0..<count where bytes[position + offset] != text.utf8Start[offset] {
      return false
    }
    position += count
    return true
  }

  private mutating func skipSpace() {
    while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      position += 1
    }
  }

  /// What is here, for a message.
  func found() -> String {
    guard let byte = peek() else { return "the end" }
    if byte > 0x20 && byte < 0x7F { return "'\(Character(Unicode.Scalar(byte)))'" }
    return "byte \(byte < 16 ? "0x0" : "0x")\(String(byte, radix: 16))"
  }

  /// An error at `place`, by default here.
  func failure(_ what: String, at place: Int? = nil) -> IVGError {
    IVGError(.corruptFile, "column \((place ?? position) + 1): \(what)")
  }
}
