import Tensor

/// The key–value pairs of a file, in file order.
///
/// A typed getter answers nil when the key is absent and throws `.corruptFile`, naming the file,
/// the key, the value and the bound, when the value is of another kind or out of range.
///
/// Ownership: keeps the file mapped, so it may outlive its `GGUFFile`. Threads: immutable.
package struct GGUFMetadata: Sendable {
  /// Every key, in file order.
  package private(set) var keys: [String] = []
  private var entries: [Entry] = []
  private var index: [String: Int] = [:]
  private let mapping: FileMapping

  /// A value, how it is stored and where.
  private struct Entry {
    let type: GGUFValueType
    let value: GGUFValue
    let extent: Range<Int>
  }

  /// No entries yet; the parser appends them.
  init(mapping: FileMapping) {
    self.mapping = mapping
  }

  /// Adds an entry whose value occupies `extent` of the file; false, and no change, if the key is
  /// there already.
  mutating func append(
    _ key: String, _ type: GGUFValueType, _ value: GGUFValue, extent: Range<Int>
  ) -> Bool {
    guard index[key] == nil else { return false }
    index[key] = keys.count
    keys.append(key)
    entries.append(Entry(type: type, value: value, extent: extent))
    return true
  }

  /// The value of `key`; nil if it is absent.
  package subscript(_ key: String) -> GGUFValue? {
    index[key].map { entries[$0].value }
  }

  /// How the value of `key` is stored; nil if it is absent.
  package func type(_ key: String) -> GGUFValueType? {
    index[key].map { entries[$0].type }
  }

  /// The value of `key` as the file has it, borrowed from the mapping; nil if it is absent.
  func encoded(_ key: String) -> UnsafeRawBufferPointer? {
    guard let entry = index[key].map({ entries[$0] }) else { return nil }
    return mapping.bytes(at: entry.extent.lowerBound, count: entry.extent.count)
  }

  /// The integer at `key`, of any width, if it lies in `range`.
  package func int(_ key: String, in range: ClosedRange<Int>) throws(IVGError) -> Int? {
    guard let value = self[key] else { return nil }
    let integer: Int?
    let text: String
    switch value {
    case .uint(let number):
      integer = Int(exactly: number)
      text = String(number)
    case .int(let number):
      integer = Int(number)
      text = String(number)
    default: throw wrongKind(key, value, wanted: "an integer")
    }
    guard let integer, range.contains(integer) else {
      throw failure(key, "is \(text); it must be \(range.lowerBound) to \(range.upperBound)")
    }
    return integer
  }

  /// As `int(_:in:)`, but a missing key is `.corruptFile`.
  package func requiredInt(_ key: String, in range: ClosedRange<Int>) throws(IVGError) -> Int {
    guard let value = try int(key, in: range) else { throw failure(key, "is missing") }
    return value
  }

  /// The number at `key`, which must be finite.
  package func float(_ key: String) throws(IVGError) -> Double? {
    guard let value = self[key] else { return nil }
    guard case .float(let number) = value else { throw wrongKind(key, value, wanted: "a float") }
    guard number.isFinite else { throw failure(key, "is \(number); it must be finite") }
    return number
  }

  /// The number at `key` if it lies in `range`.
  package func float(_ key: String, in range: ClosedRange<Double>) throws(IVGError) -> Double? {
    guard let number = try float(key) else { return nil }
    guard range.contains(number) else {
      throw failure(key, "is \(number); it must be \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// The truth value at `key`.
  package func bool(_ key: String) throws(IVGError) -> Bool? {
    guard let value = self[key] else { return nil }
    guard case .bool(let truth) = value else { throw wrongKind(key, value, wanted: "a bool") }
    return truth
  }

  /// The text at `key`; bytes that are not UTF-8 become U+FFFD. For the bytes themselves, use the
  /// subscript.
  package func string(_ key: String) throws(IVGError) -> String? {
    guard let value = self[key] else { return nil }
    guard case .string(let bytes) = value else { throw wrongKind(key, value, wanted: "a string") }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The array at `key`. Its element type is the caller's to check.
  package func array(_ key: String) throws(IVGError) -> GGUFArray? {
    guard let value = self[key] else { return nil }
    guard case .array(let array) = value else { throw wrongKind(key, value, wanted: "an array") }
    return array
  }

  private func wrongKind(_ key: String, _ value: GGUFValue, wanted: String) -> IVGError {
    failure(key, "is \(value.kindName); it must be \(wanted)")
  }

  private func failure(_ key: String, _ message: String) -> IVGError {
    IVGError(.corruptFile, "\(mapping.path): metadata \(quoted(key)) \(message)")
  }
}
