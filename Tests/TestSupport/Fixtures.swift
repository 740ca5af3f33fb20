import Glibc

/// Where the files of `Tests/Fixtures` are.
package enum Fixtures {
  /// The folder, found from the place of this source file, so that tests run from any directory.
  package static let folder: String = {
    let source = #filePath
    let testSupport = source[..<source.lastIndex(of: "/")!]
    return testSupport[..<testSupport.lastIndex(of: "/")!] + "/Fixtures"
  }()

  /// The path of one file, such as `tiny-llama.gguf`.
  package static func path(_ name: String) -> String { "\(folder)/\(name)" }
}

/// The template of a temporary file's name, for `mkstemp`, in the folder that TMPDIR names.
package func temporaryTemplate(_ name: String) -> [CChar] {
  let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
  return Array("\(folder)/ivg-\(name)-XXXXXX".utf8CString)
}
