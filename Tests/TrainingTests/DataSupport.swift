import GGUF
import Glibc
import Tensor
import TestSupport
import Testing
import Tokenizer
import Training

/// A folder that goes away with the object, and one file of data in it.
final class TemporaryData {
  let folder: String
  var path: String { folder + "/data.jsonl" }

  init() {
    let root = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(root)/ivgdataXXXXXX".utf8CString)
    folder = String(cString: mkdtemp(&template))
  }

  deinit {
    for name in ["data.jsonl", "other.jsonl"] { unlink("\(folder)/\(name)") }
    rmdir(folder)
  }

  /// Replaces the file's content.
  func fill(_ bytes: some Collection<UInt8>) {
    let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    precondition(descriptor >= 0)
    let bytes = Array(bytes)
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        write(descriptor, $0.baseAddress! + done, $0.count - done)
      }
      precondition(count > 0)
      done += count
    }
    // Not O_TRUNC: some file systems then wait for the disk.
    precondition(ftruncate(descriptor, off_t(done)) == 0)
    close(descriptor)
  }

  func fill(_ text: String) { fill(text.utf8) }

  /// Opens a file with this content for completions.
  func open(
    _ text: String, _ layout: DataLayout = .completion
  ) throws(IVGError) -> DataFile {
    fill(text)
    return try DataFile(path: path, reader: reader(layout))
  }
}

func parse(_ bytes: [UInt8]) throws(IVGError) -> JSONValue {
  let result = bytes.withUnsafeBytes { bytes -> Result<JSONValue, IVGError> in
    do throws(IVGError) { return .success(try JSONParser.parse(bytes)) } catch {
      return .failure(error)
    }
  }
  return try result.get()
}

func parse(_ text: String) throws(IVGError) -> JSONValue { try parse(Array(text.utf8)) }

/// A reader with the plain ChatML template of the tiny models.
func reader(_ layout: DataLayout) -> ExampleReader {
  let file = try! GGUFFile(path: Fixtures.path("tiny-llama.gguf"))
  let template = try! ChatTemplate(file: file, tokenizer: try! Tokenizer(file: file))
  return ExampleReader(layout: layout, chatTemplate: .success(template))
}

/// Expects an error of this kind whose message contains `words`.
func expectError<Result>(
  _ kind: IVGError.Kind, _ words: String..., at location: SourceLocation = #_sourceLocation,
  _ body: () throws(IVGError) -> Result
) {
  do throws(IVGError) {
    let result = try body()
    Issue.record("no error, but \(result)", sourceLocation: location)
  } catch {
    #expect(error.kind == kind, "\(error.message)", sourceLocation: location)
    for word in words {
      #expect(error.message.contains(word), "\(error.message)", sourceLocation: location)
    }
  }
}

/// Whether a sanitizer runs, which takes memory of its own.
let isSanitized = dlsym(nil, "__asan_init") != nil || dlsym(nil, "__tsan_init") != nil

/// A field of /proc/self/status, in KiB.
func memory(_ field: String) -> Int {
  guard let file = fopen("/proc/self/status", "r") else { return 0 }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 256)
  while fgets(&line, 256, file) != nil {
    let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    if text.hasPrefix(field + ":") { return Int(text.split { !$0.isNumber }[0]) ?? 0 }
  }
  return 0
}

/// All bytes of a file.
func contents(of path: String) throws -> [UInt8] {
  let file = try #require(fopen(path, "rb"), "cannot open \(path)")
  defer { fclose(file) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = fread(&chunk, 1, chunk.count, file)
    if count == 0 { return bytes }
    bytes += chunk[..<count]
  }
}

/// The path of a real SmolLM2 file: environment variable IVG_TEST_MODEL, else in .build/models;
/// nil, said on the console, when there is none.
func realModel() -> String? {
  let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
  let path =
    getenv("IVG_TEST_MODEL").map { String(cString: $0) }
    ?? root + "/.build/models/SmolLM2-135M-Instruct.Q4_1.gguf"
  guard access(path, R_OK) == 0 else {
    print("skipped: there is no \(path)")
    return nil
  }
  return path
}
