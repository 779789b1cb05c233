"""Human parsing: which part of the person each pixel shows, as CIHP labels."""
