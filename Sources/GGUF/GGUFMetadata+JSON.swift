/// Metadata as JSON text, for tools that show a file.
extension GGUFMetadata {
  /// The value of `key` as valid JSON in UTF-8; `null` if the key is absent. Never fails.
  ///
  /// Of an array, the first `maxElements` elements; its full length is `array(_:)`'s count. Strings
  /// are escaped and bytes that are not UTF-8 become U+FFFD. Floats are the shortest text that
  /// reads back as the same value of the stored width; "nan", "inf" and "-inf" are strings, as JSON
  /// has no such numbers. An array in an array is `null`.
  package func json(_ key: String, maxElements: Int) -> [UInt8] {
    guard let value = self[key] else { return Array("null".utf8) }
    var writer = JSONWriter()
    switch value {
    case .uint(let number): writer.raw(String(number))
    case .int(let number): writer.raw(String(number))
    case .float(let number): writer.float(number, single: type(key) == .float32)
    case .bool(let truth): writer.raw(truth ? "true" : "false")
    case .string(let bytes): writer.string(bytes)
    case .array(let array): writer.array(array, maxElements: maxElements)
    }
    return writer.bytes
  }
}

/// Builds JSON text from metadata values.
private struct JSONWriter {
  var bytes: [UInt8] = []

  /// Appends text that is JSON already.
  mutating func raw(_ text: String) {
    bytes.append(contentsOf: text.utf8)
  }

  /// Appends a number: as a `Float` if it was stored as one, so that 0.1 stays 0.1.
  mutating func float(_ number: Double, single: Bool) {
    let text = single ? Float(number).description : number.description
    raw(number.isFinite ? text : number.isNaN ? "\"nan\"" : "\"\(text)\"")
  }

  /// Appends a string in quotes.
  mutating func string(_ text: UnsafeRawBufferPointer) {
    bytes.append(UInt8(ascii: "\""))
    for byte in String(decoding: text, as: UTF8.self).utf8 {
      switch byte {
      case UInt8(ascii: "\""): raw("\\\"")
      case UInt8(ascii: "\\"): raw("\\\\")
      case UInt8(ascii: "\n"): raw("\\n")
      case UInt8(ascii: "\r"): raw("\\r")
      case UInt8(ascii: "\t"): raw("\\t")
      case 0..<0x20, 0x7F: raw("\\u00" + (byte < 16 ? "0" : "") + String(byte, radix: 16))
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  /// Appends the first elements of an array.
  mutating func array(_ array: GGUFArray, maxElements: Int) {
    bytes.append(UInt8(ascii: "["))
    for index in 0..<max(0, min(maxElements, array.count)) {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      element(array, index)
    }
    bytes.append(UInt8(ascii: "]"))
  }

  private mutating func element(_ array: GGUFArray, _ index: Int) {
    if let bytes = array.string(at: index) {
      string(bytes)
    } else if let number = array.float(at: index) {
      float(number, single: array.elementType == .float32)
    } else if let truth = array.bool(at: index) {
      raw(truth ? "true" : "false")
    } else if let number = array.uint(at: index) {
      raw(String(number))
    } else if let number = array.int(at: index) {
      raw(String(number))
    } else {
      raw("null")
    }
  }
}
