/// The bounds of what the reader accepts. Each keeps a crafted file (which may be sparse, and so as
/// large as it likes) from costing memory, time or stack; real files stay far below.
enum GGUFLimits {
  /// Bytes of a string value.
  static let stringLength = 1 << 30
  /// Bytes of a metadata key or a tensor name; keys are limited to this by the GGUF specification.
  static let nameLength = 65_535
  /// Metadata entries.
  static let metadataCount = 1 << 20
  /// Tensors.
  static let tensorCount = 1 << 20
  /// Extents of a tensor.
  static let dimensions = 4
  /// Arrays inside arrays: the outermost one counts as 1. Reading them is recursive.
  static let arrayDepth = 4
  /// Strings and inner arrays of all metadata arrays together: these are visited one by one, and
  /// each string takes 4 bytes of index.
  static let visitedElements = 1 << 26
  /// `general.alignment`: at least what the widest stored number needs, at most a huge page's half.
  static let alignment = 8...(1 << 20)
}
