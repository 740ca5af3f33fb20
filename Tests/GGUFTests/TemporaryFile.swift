import GGUF
import Glibc
import Tensor
import Testing

/// A folder that goes away with the object, and one file in it that tests rewrite and open.
final class TemporaryFile {
  let folder: String
  var path: String { folder + "/file.gguf" }

  init() {
    let root = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(root)/ggufXXXXXX".utf8CString)
    folder = String(cString: mkdtemp(&template))
  }

  deinit {
    for name in names() { unlink("\(folder)/\(name)") }
    rmdir(folder)
  }

  /// What the folder holds.
  func names() -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Replaces the file's content.
  func fill(_ bytes: some Collection<UInt8>) {
    let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    precondition(descriptor >= 0)
    let written = Array(bytes).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    precondition(written == bytes.count)
    // Not O_TRUNC: some file systems then wait for the disk, and tests do this 20,000 times.
    precondition(ftruncate(descriptor, off_t(written)) == 0)
    close(descriptor)
  }

  /// Opens a file with this content.
  func open(_ bytes: some Collection<UInt8>) throws(IVGError) -> GGUFFile {
    fill(bytes)
    return try GGUFFile(path: path)
  }

  /// Expects that opening this content fails with an error of this kind, whose message names the
  /// file and contains `words`.
  func expectFailure(
    _ bytes: some Collection<UInt8>, _ kind: IVGError.Kind, _ words: String...,
    at location: SourceLocation = #_sourceLocation
  ) {
    do throws(IVGError) {
      _ = try open(bytes)
      Issue.record("opened", sourceLocation: location)
    } catch {
      #expect(error.kind == kind, sourceLocation: location)
      for word in [path] + words {
        #expect(error.message.contains(word), "\(error.message)", sourceLocation: location)
      }
    }
  }
}

/// All bytes of a file.
func contents(_ path: String) -> [UInt8] {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  precondition(descriptor >= 0)
  defer { close(descriptor) }
  var status = stat()
  fstat(descriptor, &status)
  return [UInt8](unsafeUninitializedCapacity: Int(status.st_size)) { buffer, count in
    count = read(descriptor, buffer.baseAddress, buffer.count)
  }
}

/// Reads everything that a file offers, so that a wrong bound would crash or trip a sanitiser.
/// Returns a sum that depends on all of it.
@discardableResult
func readEverything(_ file: GGUFFile) -> Int {
  var sum = 0
  for key in file.metadata.keys {
    sum &+= file.metadata.json(key, maxElements: 1000).count
    guard case .array(let array)? = file.metadata[key] else { continue }
    for index in [-1, 0, array.count / 2, array.count - 1, array.count, .max] {
      sum &+= Int(truncatingIfNeeded: array.int(at: index) ?? 0)
      sum &+= array.string(at: index).map { $0.reduce(0) { $0 &+ Int($1) } } ?? 0
      sum &+= array.float(at: index) == nil ? 0 : 1
    }
  }
  for tensor in file.tensors {
    let data = file.data(tensor)
    sum &+= Int(data[0]) &+ Int(data[data.count - 1])
    sum &+= tensor.rows &+ tensor.columns
    if file.tensor(tensor.name) != nil { sum &+= 1 }
  }
  return sum
}
