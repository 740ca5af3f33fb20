import Glibc
import Tensor

extension AtomicFile {
  /// For a file that one process writes again and again: checks that its folder is there, and removes what
  /// writes that were killed have left beside it.
  ///
  /// Throws `.notFound` without the folder.
  package static func prepare(path: String) throws(IVGError) {
    let folder = folder(of: path)
    let name = path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
    guard let listing = opendir(folder) else {
      throw IVGError(.notFound, "\(path): the folder is not there: \(systemMessage(errno))")
    }
    defer { closedir(listing) }
    while let entry = readdir(listing) {
      let found = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if found.hasPrefix(name + "."), found.hasSuffix(".partial") { unlink(folder + found) }
    }
  }
}
