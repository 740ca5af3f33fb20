import Glibc
import Tensor

/// New files with and without a name.
extension AtomicFile {
  /// glibc's O_TMPFILE, a macro that Swift does not see: the same number on x86-64 and 64-bit ARM.
  private static let nameless = 0o20_000_000 | O_DIRECTORY

  /// The folder that a path is in, with a slash at its end.
  static func folder(of path: String) -> String {
    path.lastIndex(of: "/").map { String(path[...$0]) } ?? "./"
  }

  /// A new file without a name. Returns its descriptor; negative if that cannot be had here, be it because
  /// there would be no way to give it a name later.
  static func createNameless(_ folder: String) -> Int32 {
    let descriptor = open(folder, nameless | O_RDWR | O_CLOEXEC, 0o666)
    guard descriptor >= 0, access(link(to: descriptor), F_OK) != 0 else { return descriptor }
    close(descriptor)
    return -1
  }

  /// A new file beside `path`: its name and descriptor, negative with `errno` if that fails.
  static func create(beside path: String) -> (name: String, descriptor: Int32) {
    while true {  // ends soon: names are random
      let name = randomName(beside: path)
      let descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
      if descriptor >= 0 || errno != EEXIST && errno != EINTR { return (name, descriptor) }
    }
  }

  /// Gives a file that has none a name beside `path`. Where links are forbidden it is copied.
  ///
  /// Throws `.io`.
  func giveName() throws(IVGError) {
    while true {
      let name = Self.randomName(beside: path)
      if linkat(AT_FDCWD, Self.link(to: descriptor), AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0 {
        temporary = name
        return
      }
      if errno != EEXIST { return try copy() }
    }
  }

  private func copy() throws(IVGError) {
    let (name, target) = Self.create(beside: path)
    guard target >= 0 else { throw failure("cannot create") }
    temporary = name
    let source = descriptor
    descriptor = target
    defer { close(source) }
    var offset: off_t = 0
    while true {
      let count = sendfile(target, source, &offset, 1 << 30)
      if count == 0 { break }
      guard count > 0 || errno == EINTR else { throw failure("cannot write") }
    }
    guard fsync(target) == 0 else { throw failure("cannot write") }
  }

  private static func randomName(beside path: String) -> String {
    "\(path).\(String(UInt64.random(in: 0...UInt64.max), radix: 36)).partial"
  }

  private static func link(to descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }
}
