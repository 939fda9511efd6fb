//! A guest's screen, seen and typed at through qemu's VNC server.
//!
//! Source of the protocol: RFC 6143, version 3.8, without security, raw pixels.

use std::io::{Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What is on the screen: a colour, as 0xRRGGBB, for each pixel.
pub(crate) struct Picture(Vec<u32>);

impl Picture {
    /// How many pixels have this colour.
    pub(crate) fn count(&self, colour: u32) -> usize {
        self.0.iter().filter(|&&pixel| pixel == colour).count()
    }
}

/// A connection.
struct Viewer {
    stream: UnixStream,
    width: usize,
    height: usize,
}

impl Viewer {
    fn connect(socket: &Path) -> Result<Self> {
        let mut viewer = Self {
            stream: UnixStream::connect(socket)?,
            width: 0,
            height: 0,
        };
        viewer
            .stream
            .set_read_timeout(Some(super::appliance::PATIENCE))?;
        assert_eq!(&viewer.bytes::<12>()?, b"RFB 003.008\n");
        viewer.stream.write_all(b"RFB 003.008\n")?;
        let [kinds] = viewer.bytes()?;
        viewer.skip(kinds.into())?;
        viewer.stream.write_all(&[1])?; // no security
        assert_eq!(viewer.bytes()?, [0; 4], "the server refuses");
        viewer.stream.write_all(&[1])?; // others may look too
        viewer.width = viewer.number()?;
        viewer.height = viewer.number()?;
        viewer.skip(16)?;
        let length = u32::from_be_bytes(viewer.bytes()?);
        viewer.skip(length as usize)?;
        // 32 bits for a pixel, of which 24 count, little-endian, 255 levels of red,
        // green and blue at bits 16, 8 and 0.
        let format = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
        viewer.stream.write_all(&[0, 0, 0, 0])?;
        viewer.stream.write_all(&format)?;
        viewer.stream.write_all(&[2, 0, 0, 1, 0, 0, 0, 0])?; // raw
        Ok(viewer)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<usize> {
        self.bytes().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn skip(&mut self, length: usize) -> Result<()> {
        self.stream.read_exact(&mut vec![0; length])
    }

    fn look(mut self) -> Result<Picture> {
        let (width, height) = (self.width, self.height);
        let mut request = vec![3, 0, 0, 0, 0, 0];
        request.extend((width as u16).to_be_bytes());
        request.extend((height as u16).to_be_bytes());
        self.stream.write_all(&request)?;
        let mut picture = vec![0; width * height];
        let mut missing = picture.len();
        while missing > 0 {
            assert_eq!(self.bytes()?, [0, 0], "this is no picture");
            for _ in 0..self.number()? {
                let place = [(); 4].map(|()| self.number());
                let [x, y, wide, high] = place;
                let (x, y, wide, high) = (x?, y?, wide?, high?);
                assert_eq!(self.bytes()?, [0; 4], "these are no raw pixels");
                for row in y..y + high {
                    let mut pixels = vec![0; wide * 4];
                    self.stream.read_exact(&mut pixels)?;
                    for (index, pixel) in pixels.chunks_exact(4).enumerate() {
                        picture[row * width + x + index] =
                            u32::from_le_bytes([pixel[0], pixel[1], pixel[2], 0]);
                    }
                }
                missing = missing.saturating_sub(wide * high);
            }
        }
        Ok(Picture(picture))
    }
}

/// What is on the screen; an error as long as there is none.
pub(crate) fn look(socket: &Path) -> Result<Picture> {
    Viewer::connect(socket)?.look()
}

/// Types a text of letters, spaces and line breaks.
pub(crate) fn type_text(socket: &Path, text: &str) -> Result<()> {
    let mut viewer = Viewer::connect(socket)?;
    for letter in text.chars() {
        let key = if letter == '\n' {
            0xff0d
        } else {
            letter.into()
        };
        for down in [1, 0] {
            viewer.stream.write_all(&[4, down, 0, 0])?;
            viewer.stream.write_all(&u32::to_be_bytes(key))?;
        }
    }
    // The server has dealt with what came before it answers.
    viewer.look().map(drop)
}
