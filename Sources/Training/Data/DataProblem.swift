/// Why a line of data cannot be used.
package struct DataProblem: Equatable, Sendable {
  /// The line's number, from 1; blank lines count.
  package let line: Int

  /// The reason, for a person; names the field or the column.
  package let reason: String
}
