import GGUF
import Tensor

/// A JSON Lines file of examples that stays on the disk: checked once from beginning to end, then
/// read line by line in any order.
///
/// Takes 8 bytes of memory for a usable line; lines have at most 16 MiB. Lines end with `\n` or
/// `\r\n`, the last one with or without; blank ones and a byte order mark are passed over. What
/// cannot be used is remembered as a problem.
///
/// The file must not change while it is in use; if it does, `example(at:)` says so. It may be
/// removed, or replaced by renaming.
///
/// Ownership: holds a descriptor. Threads: immutable; calls may overlap.
package final class DataFile: Sendable {
  /// How many problems are kept word for word.
  package static let maximumProblems = 1000

  /// The path as the caller wrote it, for messages.
  package var path: String { lines.path }

  /// How many usable examples there are.
  package var count: Int { entries.count }

  /// The first problems, in the order of the file.
  package let problems: [DataProblem]

  /// How many lines cannot be used.
  package let problemCount: Int

  /// Changes when the file's content does. The same for the same bytes, everywhere and always.
  package let fingerprint: UInt64

  private let lines: LineReader
  private let reader: ExampleReader

  /// For each usable line, its offset and the low 16 bits of its hash below that.
  private let entries: [UInt64]

  /// Opens the file at `path` and checks every line with `reader`, and what it says with `accepts`,
  /// which throws the reason not to use it. A file without usable lines is no error here. `cancel` is
  /// asked every MiB.
  ///
  /// Throws `.notFound` if there is no such file; `.io` if it cannot be read or is no regular file;
  /// `.mismatch` if it changes while it is read; `.cancelled`.
  package init(
    path: String, reader: ExampleReader, cancel: () -> Bool = { false },
    accepts: (Example) throws(IVGError) -> Void = { (_) throws(IVGError) in }
  ) throws(IVGError) {
    let lines = try LineReader(path: path)
    var entries: [UInt64] = []
    var problems: [DataProblem] = []
    var problemCount = 0
    fingerprint = try lines.scan(cancel: cancel) { line in
      do throws(IVGError) {
        guard let bytes = line.bytes else {
          throw IVGError(
            .invalidArgument, "the line is longer than \(LineReader.maximumLength) bytes")
        }
        if Self.isBlank(bytes) { return }
        try accepts(reader.read(JSONParser.parse(bytes)))
        entries.append(
          UInt64(line.offset) << 16 | UInt64(UInt16(truncatingIfNeeded: ContentHash.hash(bytes))))
      } catch {
        problemCount += 1
        if problems.count < Self.maximumProblems {
          problems.append(DataProblem(line: line.number, reason: error.message))
        }
      }
    }
    self.lines = lines
    self.reader = reader
    self.entries = entries
    self.problems = problems
    self.problemCount = problemCount
  }

  /// Reads example `index`, in the order of the file.
  ///
  /// Throws `.invalidArgument` unless `index` is in 0 ..< `count`; `.mismatch` if the file has
  /// changed; `.io`.
  package func example(at index: Int) throws(IVGError) -> Example {
    guard entries.indices.contains(index) else {
      throw IVGError(.invalidArgument, "\(path): there is no example \(index) among \(count)")
    }
    let entry = entries[index]
    let line = try lines.line(at: Int(entry >> 16))
    let hash = line.withUnsafeBytes { ContentHash.hash($0) }
    guard UInt16(truncatingIfNeeded: hash) == UInt16(truncatingIfNeeded: entry) else {
      throw lines.changedError
    }
    do throws(IVGError) {
      return try reader.read(
        line.withBytes { bytes throws(IVGError) in try JSONParser.parse(bytes) })
    } catch { throw lines.changedError }
  }

  private static func isBlank(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
  }
}
