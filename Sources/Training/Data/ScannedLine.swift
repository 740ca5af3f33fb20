/// One line of a file while the file is scanned.
struct ScannedLine {
  /// From 1.
  let number: Int

  /// Where it begins in the file, behind a byte order mark.
  let offset: Int

  /// Its bytes without `\n`, borrowed for the call; nil if they are too many.
  let bytes: UnsafeRawBufferPointer?
}
