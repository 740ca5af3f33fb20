/// One metadata value, widened to the largest type of its kind.
///
/// Strings are bytes as the file has them: usually UTF-8, but nothing promises it. They are
/// borrowed from the mapping and valid while the `GGUFFile`, its metadata or a `GGUFArray` of it is
/// alive.
package enum GGUFValue: @unchecked Sendable {
  case uint(UInt64)
  case int(Int64)
  case float(Double)
  case bool(Bool)
  case string(UnsafeRawBufferPointer)
  case array(GGUFArray)

  /// What kind of value this is, for messages: "an integer", "a string", …
  package var kindName: String {
    switch self {
    case .uint, .int: "an integer"
    case .float: "a float"
    case .bool: "a bool"
    case .string: "a string"
    case .array(let array): "an array of \(array.count) × \(array.elementType.name)"
    }
  }
}
