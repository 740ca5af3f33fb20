import Tensor
import Tokenizer

extension JSONParser {
  /// The string whose opening quote is here, escapes resolved.
  mutating func string() throws(IVGError) -> [UInt8] {
    let start = position
    position += 1
    var result: [UInt8] = []
    while true {
      let run = try plainRun()
      result.append(contentsOf: bytes[run])
      switch peek() {
      case UInt8(ascii: "\""):
        position += 1
        return result
      case UInt8(ascii: "\\"): try escape(into: &result)
      case nil: throw failure("a string has no end", at: start)
      default: throw failure("\(found()) in a string: control characters must be escaped")
      }
    }
  }

  /// Passes bytes that stand for themselves, checked to be UTF-8; ends before a quote, a backslash,
  /// a control character or the end.
  private mutating func plainRun() throws(IVGError) -> Range<Int> {
    let start = position
    while position < bytes.count {
      let byte = bytes[position]
      if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { break }
      if byte < 0x80 {
        position += 1
      } else if let (_, length) = decodeScalar(bytes, at: position, end: bytes.count) {
        position += length
      } else {
        throw failure("\(found()) in a string: not UTF-8")
      }
    }
    return start..<position
  }

  /// Passes a backslash and what it means, and appends that.
  private mutating func escape(into result: inout [UInt8]) throws(IVGError) {
    let start = position
    position += 1
    guard let letter = peek() else { throw failure("a string has no end", at: start) }
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(letter)
    case UInt8(ascii: "b"): result.append(0x08)
    case UInt8(ascii: "f"): result.append(0x0C)
    case UInt8(ascii: "n"): result.append(0x0A)
    case UInt8(ascii: "r"): result.append(0x0D)
    case UInt8(ascii: "t"): result.append(0x09)
    case UInt8(ascii: "u"):
      position += 1
      result.append(contentsOf: String(Character(try scalar(escapedAt: start))).utf8)
      return
    default: throw failure("\(found()) after \\ in a string: no such escape")
    }
    position += 1
  }

  /// The code point of an escape whose four digits are here, and of the other half of its pair.
  private mutating func scalar(escapedAt start: Int) throws(IVGError) -> Unicode.Scalar {
    let unit = try hexadecimal()
    if let scalar = Unicode.Scalar(unit) { return scalar }
    guard unit < 0xDC00, peek() == UInt8(ascii: "\\"), position + 1 < bytes.count,
      bytes[position + 1] == UInt8(ascii: "u")
    else { throw failure("a surrogate without its other half", at: start) }
    position += 2
    let low = try hexadecimal()
    guard (0xDC00...0xDFFF).contains(low),
      let scalar = Unicode.Scalar(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
    else { throw failure("a surrogate without its other half", at: start) }
    return scalar
  }

  /// Passes four hexadecimal digits.
  private mutating func hexadecimal() throws(IVGError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      switch peek() {
      case let digit? where Self.isDigit(digit):
        value = value << 4 | UInt32(digit - UInt8(ascii: "0"))
      case let digit? where (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(digit | 0x20):
        value = value << 4 | UInt32((digit | 0x20) - UInt8(ascii: "a") + 10)
      default: throw failure("\(found()) in \\u, where four hexadecimal digits must be")
      }
      position += 1
    }
    return value
  }
}
